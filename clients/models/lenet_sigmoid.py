"""The small LeNet with sigmoids on which gradient leakage was first shown. 15 826 parameters on CIFAR-10.

Source: Zhu, Liu, Han. Deep Leakage from Gradients. NeurIPS 2019, and the authors' code. arXiv:1906.08935
"""

from dataclasses import dataclass

from torch import nn

from .shapes import image_shape

CHANNELS = 12


@dataclass(frozen=True)
class LenetSigmoid:
    """Three 5 x 5 convolutions of 12 channels (strides 2, 2, 1; padding 2), a sigmoid after each, one linear
    layer.

    Attributes:
        init_range: All weights and biases are redrawn from U(-init_range, init_range), at least 0; without
            this the attack does not converge. 0 keeps torch's own draw.
    """

    init_range: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.init_range < float("inf"):
            raise ValueError(f"init_range must be at least 0 and finite, got {self.init_range}")

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        channels, height, width = image_shape(input_shape, least=1)
        pixels = -(-height // 4) * -(-width // 4)  # halved twice, rounded up
        model = nn.Sequential(
            nn.Conv2d(channels, CHANNELS, 5, stride=2, padding=2),
            nn.Sigmoid(),
            nn.Conv2d(CHANNELS, CHANNELS, 5, stride=2, padding=2),
            nn.Sigmoid(),
            nn.Conv2d(CHANNELS, CHANNELS, 5, stride=1, padding=2),
            nn.Sigmoid(),
            nn.Flatten(),
            nn.Linear(CHANNELS * pixels, num_classes),
        )
        if self.init_range > 0:
            for parameter in model.parameters():
                nn.init.uniform_(parameter, -self.init_range, self.init_range)
        return model
