"""Multinomial logistic regression: one linear layer. 7 850 parameters on MNIST."""

from dataclasses import dataclass
from math import prod

from torch import nn


@dataclass(frozen=True)
class LogisticRegression:
    """One linear layer on the flattened input, with a bias.

    Attributes:
        zero_init: Whether weights and biases start at 0, as convex optimisation papers do, instead of
            torch's draw.
        reference_class: Whether class 0 has logit 0, so that the others' weights are told by the data
            alone: what a posterior needs. Otherwise every class has weights.
    """

    zero_init: bool = False
    reference_class: bool = False

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        linear = nn.Linear(prod(input_shape), num_classes - self.reference_class)
        if self.zero_init:
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        flat = [nn.Flatten(), linear]
        return (
            nn.Sequential(*flat, nn.ConstantPad1d((1, 0), 0.0))
            if self.reference_class
            else nn.Sequential(*flat)
        )
