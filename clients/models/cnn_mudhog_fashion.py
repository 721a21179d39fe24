"""The network of the MUD-HoG experiments on Fashion-MNIST. 165 106 parameters.

Source: Gupta, Luo, Ngo, Das. Long-Short History of Gradients is All You Need: Detecting Malicious and
Unreliable Clients in Federated Learning. ESORICS 2022, and the authors' code. arXiv:2208.10273
"""

from dataclasses import dataclass

from torch import nn

from .shapes import image_shape

CHANNELS = (24, 24, 48, 48, 96, 96)
PADDINGS = (1, 1, 1, 0, 1, 0)


def _side(pixels: int) -> int:
    """Return what is left of a side: halved, then less 2 and halved twice, rounded down."""
    return ((pixels // 2 - 2) // 2 - 2) // 2


@dataclass(frozen=True)
class CnnMudhogFashion:
    """Six 3 x 3 convolutions with ReLU, max-pooling after each pair, one linear layer."""

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        channels, height, width = image_shape(input_shape, least=20)
        layers: list[nn.Module] = []
        for i, (wide, padding) in enumerate(zip(CHANNELS, PADDINGS, strict=True)):
            layers += [nn.Conv2d(channels, wide, 3, padding=padding), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if i % 2 else []
            channels = wide
        return nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(channels * _side(height) * _side(width), num_classes)
        )
