"""The network of HeteroFL's experiments on MNIST. 1 556 874 parameters there, with group norm.

Source: Diao, Ding, Tarokh. HeteroFL: Computation and Communication Efficient Federated Learning for
Heterogeneous Clients. ICLR 2021, Section 4, and the authors' code. arXiv:2010.01264
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from .shapes import image_shape


@dataclass(frozen=True)
class CnnHeterofl:
    """3 x 3 convolutions, each with a norm, ReLU and max-pooling; averaged over pixels, one linear layer.

    Behind the last convolution nothing is pooled but by that average.

    Attributes:
        hidden: Output channels of each convolution, at least 1 each, at least one. The paper's level e alone
            is (4, 8, 16, 32).
        norm: ``"group"``, which needs no statistics, or ``"none"``. The published tables have batch norm.
        num_groups: Groups of channels that are normalised together, a divisor of all widths.
    """

    hidden: tuple[int, ...] = (64, 128, 256, 512)
    norm: Literal["group", "none"] = "group"
    num_groups: int = 4

    def __post_init__(self) -> None:
        if min(self.hidden, default=0) < 1:
            raise ValueError(f"hidden must be sizes of at least 1, at least one, got {list(self.hidden)}")
        if self.norm not in ("group", "none"):
            raise ValueError(f"norm must be group or none, got '{self.norm}'")
        if self.norm == "group" and (self.num_groups < 1 or any(n % self.num_groups for n in self.hidden)):
            raise ValueError(f"num_groups must divide all of {list(self.hidden)}, got {self.num_groups}")

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        channels, _, _ = image_shape(input_shape, least=2 ** (len(self.hidden) - 1))
        layers: list[nn.Module] = []
        for wide in self.hidden:
            layers += [nn.Conv2d(channels, wide, 3, padding=1)]
            layers += [nn.GroupNorm(self.num_groups, wide)] if self.norm == "group" else []
            layers += [nn.ReLU(), nn.MaxPool2d(2)]
            channels = wide
        layers[-1] = nn.AdaptiveAvgPool2d(1)
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, num_classes))
