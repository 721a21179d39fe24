"""Linear regression: every output is a linear function of all inputs. 366 parameters on mobility."""

from dataclasses import dataclass
from math import prod

from torch import nn


@dataclass(frozen=True)
class Linear:
    """One linear layer on the flattened input.

    Attributes:
        zero_init: Whether weights and biases start at 0 instead of torch's draw.
        bias: Whether outputs have a bias, or pass through the origin.
    """

    zero_init: bool = False
    bias: bool = True

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        linear = nn.Linear(prod(input_shape), num_classes, bias=self.bias)
        if self.zero_init:
            nn.init.zeros_(linear.weight)
            if self.bias:
                nn.init.zeros_(linear.bias)
        return nn.Sequential(nn.Flatten(), linear)
