"""A plain recurrent network for windows of a time series, or pictures by rows. 5 322 parameters on digits.

Source: Elman. Finding Structure in Time. Cognitive Science 14(2), 1990; initial weights as in ``recurrent``.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from .recurrent import Activation, RnnLayer, check, features_of


class Rows(nn.Module):
    """Take the rows of a grey picture [B, 1, H, W] as H steps of W features."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1, 2) if x.ndim == 4 else x


@dataclass(frozen=True)
class Rnn:
    """One recurrent layer over the window, and a linear layer on its last state.

    Attributes:
        hidden: Units, at least 1.
        activation: ``"tanh"`` or ``"relu"``.
    """

    hidden: int = 64
    activation: Activation = "tanh"

    def __post_init__(self) -> None:
        check(self.hidden, self.activation)

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        grey = len(input_shape) == 3 and input_shape[0] == 1
        features = features_of(tuple(input_shape[1:]) if grey else input_shape)
        layer = RnnLayer(features, self.hidden, self.activation)
        return nn.Sequential(Rows(), layer, nn.Linear(self.hidden, num_classes))
