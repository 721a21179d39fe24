"""A GRU that reads a window in both directions. 29 958 parameters on mobility.

Source: see ``recurrent``. As a forecaster of mobility: Arcolezi, Couchot, Renaud, Al Bouna, Xiao. Neural
Computing and Applications 34, 2022, Section 4.1. arXiv:2205.00436
"""

from dataclasses import dataclass

from torch import nn

from .recurrent import Activation, Forecaster, GruLayer, check, features_of


@dataclass(frozen=True)
class BiGru:
    """One GRU layer for each direction of time, and a linear layer on both last states.

    Attributes:
        hidden: Units of each direction, at least 1.
        activation: ``"relu"`` (the paper) or ``"tanh"``, of the candidate state.
    """

    hidden: int = 64
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        check(self.hidden, self.activation)

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        features = features_of(input_shape)
        layers = [GruLayer(features, self.hidden, self.activation) for _ in range(2)]
        return Forecaster(layers, num_classes)
