"""The LeNet of the MUD-HoG experiments on MNIST. 81 194 parameters.

Source: Gupta, Luo, Ngo, Das. Long-Short History of Gradients is All You Need: Detecting Malicious and
Unreliable Clients in Federated Learning. ESORICS 2022, and the authors' code. arXiv:2208.10273
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from .shapes import image_shape

SIDE = 32


class Resize(nn.Module):
    """Bring pictures to 32 x 32 by bilinear interpolation, corners not aligned, as the authors do."""

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2:] == (SIDE, SIDE):
            return x
        return F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class LenetMudhog:
    """Pictures resized to 32 x 32, two 3 x 3 convolutions (6, 16) with pooling, linear 120 - 84 - C."""

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        channels, _, _ = image_shape(input_shape, least=1)
        return nn.Sequential(
            Resize(),
            nn.Conv2d(channels, 6, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * 6 * 6, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, num_classes),
        )
