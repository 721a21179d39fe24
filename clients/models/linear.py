"""Linear regression: every output is a linear function of all inputs. 366 parameters on mobility."""

from dataclasses import dataclass
from math import prod

from torch import nn


@dataclass(frozen=True)
class Linear:
    """One linear layer on the flattened input, with a bias.

    Attributes:
        zero_init: Whether weights and biases start at 0 instead of torch's draw.
    """

    zero_init: bool = False

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        linear = nn.Linear(prod(input_shape), num_classes)
        if self.zero_init:
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        return nn.Sequential(nn.Flatten(), linear)
