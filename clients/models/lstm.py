"""A long short-term memory network for windows of a time series. 19 590 parameters on mobility.

Source: see ``recurrent``. As a forecaster of mobility: Arcolezi, Couchot, Renaud, Al Bouna, Xiao. Neural
Computing and Applications 34, 2022, Section 4.1. arXiv:2205.00436
"""

from dataclasses import dataclass

from torch import nn

from .recurrent import Activation, Forecaster, LstmLayer, check, features_of


@dataclass(frozen=True)
class Lstm:
    """One LSTM layer over the window, and a linear layer on its last state.

    Attributes:
        hidden: Units, at least 1.
        activation: ``"relu"`` (the paper) or ``"tanh"``, of the candidate state and of the memory.
    """

    hidden: int = 64
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        check(self.hidden, self.activation)

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        features = features_of(input_shape)
        return Forecaster([LstmLayer(features, self.hidden, self.activation)], num_classes)
