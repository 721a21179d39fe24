"""ResNet-18 for small pictures, with group instead of batch normalisation. 11 173 962 parameters on CIFAR-10.

Source: He, Zhang, Ren, Sun. Deep Residual Learning for Image Recognition. CVPR 2016. arXiv:1512.03385;
groups as in Hsieh, Phanishayee, Mutlu, Gibbons. The Non-IID Data Quagmire of Decentralized Machine Learning.
ICML 2020. arXiv:1910.00189. Stem for 32 x 32: one 3 x 3 convolution, no pooling.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .shapes import image_shape

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, which is a 1 x 1 convolution where the shape changes."""

    def __init__(self, channels: int, wide: int, stride: int, num_groups: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, wide, 3, stride, padding=1, bias=False),
            nn.GroupNorm(num_groups, wide),
            nn.ReLU(),
            nn.Conv2d(wide, wide, 3, padding=1, bias=False),
            nn.GroupNorm(num_groups, wide),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != wide:
            convolution = nn.Conv2d(channels, wide, 1, stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.GroupNorm(num_groups, wide))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


@dataclass(frozen=True)
class Resnet18Gn:
    """Four stages of two blocks (64, 128, 256, 512 channels), averaged over pixels, one linear layer.

    No statistics of a batch are kept, so clients can be trained in private and side by side.

    Attributes:
        num_groups: Groups of channels that are normalised together, a divisor of 64.
    """

    num_groups: int = 2

    def __post_init__(self) -> None:
        if self.num_groups < 1 or 64 % self.num_groups:
            raise ValueError(f"num_groups must divide 64, got {self.num_groups}")

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        channels, _, _ = image_shape(input_shape, least=9)
        stem = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        layers: list[nn.Module] = [stem, nn.GroupNorm(self.num_groups, 64), nn.ReLU()]
        channels = 64
        for wide, stride in STAGES:
            layers += [Block(channels, wide, stride, self.num_groups), Block(wide, wide, 1, self.num_groups)]
            channels = wide
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))
