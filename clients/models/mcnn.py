"""The small MNIST network of PyTorch's examples, used by many federated code bases. 21 840 parameters on
MNIST.

Source: PyTorch examples, ``mnist`` (2017 version), without its dropout; shaoxiongji/federated-learning,
``CNNMnist``.
"""

from dataclasses import dataclass

from torch import nn

from .shapes import image_shape


@dataclass(frozen=True)
class Mcnn:
    """Two 5 x 5 convolutions (10, 20) with ReLU and max-pooling, linear layers 50 - C."""

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        channels, height, width = image_shape(input_shape, least=16)
        pixels = (((height - 4) // 2 - 4) // 2) * (((width - 4) // 2 - 4) // 2)
        return nn.Sequential(
            nn.Conv2d(channels, 10, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(10, 20, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(20 * pixels, 50),
            nn.ReLU(),
            nn.Linear(50, num_classes),
        )
