"""Multi-layer perceptron. The default has one hidden layer of 200 units: 159 010 parameters on MNIST."""

from dataclasses import dataclass
from math import prod
from typing import Literal

from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU}


@dataclass(frozen=True)
class Mlp:
    """Linear layers on the flattened input, each but the last followed by an activation (and dropout).

    Attributes:
        hidden: Units of each hidden layer, at least 1 each; empty makes a linear model.
        activation: ``"relu"``, ``"tanh"``, ``"sigmoid"`` or ``"gelu"``.
        dropout: Share of hidden units dropped in training, between 0 and 1 (1 excluded).
    """

    hidden: tuple[int, ...] = (200,)
    activation: Literal["relu", "tanh", "sigmoid", "gelu"] = "relu"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if min(self.hidden, default=1) < 1:
            raise ValueError(f"hidden must be sizes of at least 1, got {list(self.hidden)}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got '{self.activation}'")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        layers: list[nn.Module] = [nn.Flatten()]
        width = prod(input_shape)
        for units in self.hidden:
            layers += [nn.Linear(width, units), ACTIVATIONS[self.activation]()]
            layers += [nn.Dropout(self.dropout)] if self.dropout > 0 else []
            width = units
        return nn.Sequential(*layers, nn.Linear(width, num_classes))
