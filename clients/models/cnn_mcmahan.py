"""The network of the FedAvg paper on MNIST. 1 663 370 parameters.

Source: McMahan, Moore, Ramage, Hampson, Aguera y Arcas. Communication-Efficient Learning of Deep Networks
from Decentralized Data. AISTATS 2017, Section 3 ("CNN ... 1,663,370 total parameters"). arXiv:1602.05629
"""

from dataclasses import dataclass

from torch import nn

from .shapes import image_shape


@dataclass(frozen=True)
class CnnMcmahan:
    """Two 5 x 5 convolutions (32, 64; padding 2) with ReLU and max-pooling, linear layers 512 - C."""

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        channels, height, width = image_shape(input_shape, least=4)
        return nn.Sequential(
            nn.Conv2d(channels, 32, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64 * (height // 4) * (width // 4), 512),
            nn.ReLU(),
            nn.Linear(512, num_classes),
        )
