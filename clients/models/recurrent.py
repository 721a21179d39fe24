"""Recurrent layers written step by step, so that clients can be stacked, and what models with one share.

Source: Hochreiter, Schmidhuber. Long Short-Term Memory. Neural Computation 9(8), 1997, with the forget gate
of Gers, Schmidhuber, Cummins 2000; Cho, van Merrienboer, Gulcehre, Bahdanau, Bougares, Schwenk, Bengio.
Learning Phrase Representations using RNN Encoder-Decoder. EMNLP 2014, arXiv:1406.1078, with the reset gate
after the product, as cuDNN, torch and Keras have it. Initial weights as in Keras: Glorot's uniform law for
inputs, orthogonal for states, 0 for biases and 1 for the bias of the forget gate.

torch.nn.LSTM and torch.nn.GRU compute the same with ``activation = "tanh"`` (a test compares), but know no
other activation and have no batching rule.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Literal["relu", "tanh"]
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "tanh": torch.tanh}


def check(hidden: int, activation: str) -> None:
    """Refuse options out of range.

    Raises:
        ValueError: No units, or an activation that is not known.
    """
    if hidden < 1:
        raise ValueError(f"hidden must be at least 1, got {hidden}")
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(_ACTIVATIONS)}; got '{activation}'")


class Cell(nn.Module):
    """What both layers share: weights for ``gates`` blocks of ``hidden`` units."""

    def __init__(self, features: int, hidden: int, gates: int, activation: str) -> None:
        super().__init__()
        self.hidden, self.activation = hidden, _ACTIVATIONS[activation]
        self.weight_ih = nn.Parameter(torch.empty(gates * hidden, features))
        self.weight_hh = nn.Parameter(torch.empty(gates * hidden, hidden))
        self.bias_ih = nn.Parameter(torch.zeros(gates * hidden))
        nn.init.xavier_uniform_(self.weight_ih)
        nn.init.orthogonal_(self.weight_hh)


class LstmLayer(Cell):
    """An LSTM; gates in torch's order: input, forget, candidate, output."""

    def __init__(self, features: int, hidden: int, activation: str) -> None:
        super().__init__(features, hidden, 4, activation)
        nn.init.ones_(self.bias_ih.detach()[hidden : 2 * hidden])

    def forward(self, x: Tensor, backwards: bool = False) -> Tensor:
        """Return the state after the last step of x [B, S, features], or after the first.  # [B, hidden]"""
        steps = F.linear(x, self.weight_ih, self.bias_ih).unbind(1)  # S of [B, 4 hidden]
        state, memory = None, None
        for step in reversed(steps) if backwards else steps:
            gates = step if state is None else step + state @ self.weight_hh.t()
            enter, forget, new, leave = gates.chunk(4, dim=-1)
            entering = enter.sigmoid() * self.activation(new)
            memory = entering if memory is None else forget.sigmoid() * memory + entering
            state = leave.sigmoid() * self.activation(memory)
        assert state is not None, "a window has at least one step"
        return state


class GruLayer(Cell):
    """A GRU; gates in torch's order: reset, update, candidate."""

    def __init__(self, features: int, hidden: int, activation: str) -> None:
        super().__init__(features, hidden, 3, activation)
        self.bias_hh = nn.Parameter(torch.zeros(3 * hidden))

    def forward(self, x: Tensor, backwards: bool = False) -> Tensor:
        """Return the state after the last step of x [B, S, features], or after the first.  # [B, hidden]"""
        steps = F.linear(x, self.weight_ih, self.bias_ih).unbind(1)  # S of [B, 3 hidden]
        state = None
        for step in reversed(steps) if backwards else steps:
            own = self.bias_hh if state is None else F.linear(state, self.weight_hh, self.bias_hh)
            gates = (step[..., : 2 * self.hidden] + own[..., : 2 * self.hidden]).sigmoid()
            reset, keep = gates.chunk(2, dim=-1)
            new = self.activation(step[..., 2 * self.hidden :] + reset * own[..., 2 * self.hidden :])
            state = new - keep * new if state is None else new + keep * (state - new)
        assert state is not None, "a window has at least one step"
        return state


class RnnLayer(Cell):
    """Elman's layer: the activation of W x + U (state before) + b.

    Source: Elman. Finding Structure in Time. Cognitive Science 14(2), 1990.
    """

    def __init__(self, features: int, hidden: int, activation: str) -> None:
        super().__init__(features, hidden, 1, activation)

    def states(self, x: Tensor, cut: bool = False) -> Tensor:
        """Return the state after every step of x [B, S, features]; cut: no gradient goes to the step before.

        [B, S, hidden].
        """
        found: list[Tensor] = []
        for step in F.linear(x, self.weight_ih, self.bias_ih).unbind(1):
            before = found[-1].detach() if cut and found else found[-1] if found else None
            found.append(self.activation(step if before is None else step + before @ self.weight_hh.t()))
        return torch.stack(found, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the state after the last step of x [B, S, features].  # [B, hidden]"""
        return self.states(x)[:, -1]


class Forecaster(nn.Module):
    """One recurrent layer, or one for each direction of time, and a linear layer on its last state."""

    def __init__(self, layers: list[LstmLayer] | list[GruLayer], outputs: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.head = nn.Linear(sum(layer.hidden for layer in layers), outputs)
        nn.init.xavier_uniform_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        states = [layer(x, backwards=bool(number)) for number, layer in enumerate(self.layers)]
        output: Tensor = self.head(torch.cat(states, dim=-1) if len(states) > 1 else states[0])
        return output


def features_of(input_shape: tuple[int, ...]) -> int:
    """Return the features of a step.

    Raises:
        ValueError: An example is no window [steps, features].
    """
    if len(input_shape) != 2 or min(input_shape) < 1:
        raise ValueError("needs windows [steps, features] of at least one step and feature")
    return input_shape[1]
