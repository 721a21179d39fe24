"""How good the global model is on the test set."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..clients.data.base import FederatedData
from ..core.layout import Layout

_BATCH = 1000


@dataclass(frozen=True)
class Score:
    """A model's score.

    Attributes:
        accuracy: Share of test examples classified right, between 0 and 1.
        loss: Mean cross-entropy, in nats.
    """

    accuracy: float
    loss: float


class Evaluator:
    """Score global parameters on the whole test set."""

    def __init__(self, model: nn.Module, data: FederatedData) -> None:
        self._model, self._layout = model.eval(), Layout.of(model)
        self._x, self._y = data.test()

    def score(self, params: Tensor, buffers: Tensor) -> Score:
        """Return the score of ``params`` [P] and ``buffers`` [Q]; NaN loss where the model diverged."""
        own = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
        with torch.no_grad():
            new = {**self._layout.views(params), **self._layout.buffer_views(buffers)}
            for name, value in new.items():
                own[name].copy_(value)
            right, loss = 0, 0.0
            for at in range(0, len(self._y), _BATCH):
                x, y = self._x[at : at + _BATCH], self._y[at : at + _BATCH]
                output = self._model(x)  # [B, C]
                right += int((output.argmax(dim=1) == y).sum())
                loss += float(nn.functional.cross_entropy(output.double(), y, reduction="sum"))
        return Score(right / len(self._y), loss / len(self._y))
