"""How good clients' own models are, and the global one, on what each client keeps out of training."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from ...clients.data.base import FederatedData
from ...clients.exchange.exchange import PERSONAL, Exchange
from ...clients.tasks.fitted import FittedTask, task_of
from ...core.declarations import Algorithms, ClientData, declared
from ...core.errors import named_faults
from ...core.layout import Layout

if TYPE_CHECKING:
    from ...core.client_rows import ClientRows

_AT_ONCE = 1000  # examples of a forward pass


@dataclass(frozen=True)
class PersonalScore:
    """One client's scores.

    Attributes:
        client_id: Stable id.
        examples: What the client holds out, at least 1.
        accuracy: The share of them that its own model gets right; None of a regression.
        global_accuracy: The same of the global model.
        loss: Its own model's mean loss on them: that which clients train with.
        global_loss: The same of the global model.
    """

    client_id: int
    examples: int
    accuracy: float | None
    global_accuracy: float | None
    loss: float
    global_loss: float


class PersonalEvaluator:
    """Ask clients' own models, and the global one, about what each client holds out."""

    def __init__(
        self,
        model: nn.Module,
        exchange: Exchange,
        data: FederatedData,
        held: FederatedData,
        loss: str,
        task: FittedTask | None = None,
    ) -> None:
        """Take a model, which is copied, what clients remember, the data, what they hold out, loss, task."""
        self._model, self._layout = deepcopy(model).eval(), Layout.of(model)
        self._place, self._held, self._clients = exchange.memory.groups[PERSONAL], held, data.num_clients
        self._task = task or task_of(data)
        self._form = self._task.form(loss)

    def score(self, params: Tensor, buffers: Tensor, rows: ClientRows) -> tuple[PersonalScore, ...]:
        """Return the scores of every client that was ever counted and holds something out, by ascending id.

        Args:
            params: The global model's parameters.  # [P]
            buffers: Its buffers.  # [Q]
            rows: What the clients remember.  # [S] each
        """
        ids = [i for i in sorted(rows) if i < self._clients and self._held.num_examples(i) > 0]
        with named_faults("clients' own models cannot be evaluated"), torch.no_grad():
            self._hold(params, buffers)
            shared = [self._ask(*self._held.client(i)) for i in ids]
            found = []
            for i, (global_accuracy, global_loss) in zip(ids, shared, strict=True):
                self._hold(rows[i][self._place], buffers)
                x, y = self._held.client(i)
                accuracy, loss = self._ask(x, y)
                found.append(PersonalScore(i, len(y), accuracy, global_accuracy, loss, global_loss))
        return tuple(found)

    def _ask(self, x: Tensor, y: Tensor) -> tuple[float | None, float]:
        outputs = torch.cat([self._model(part) for part in torch.split(x, _AT_ONCE)])
        loss = float(self._form.mean(outputs.double(), y.double() if y.is_floating_point() else y))
        return self._task.accuracy(outputs, y, loss), loss

    def _hold(self, params: Tensor, buffers: Tensor) -> None:
        there = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
        for name, view in {**self._layout.views(params), **self._layout.buffer_views(buffers)}.items():
            there[name].copy_(view)


def make_evaluator(
    algorithm: object,
    model: nn.Module,
    exchange: Exchange,
    data: FederatedData,
    loss: str,
    task: FittedTask | None = None,
) -> PersonalEvaluator | None:
    """Return what scores clients' own models; None where they have none, or nobody holds anything out."""
    held = declared(data, ClientData.held_out)
    if declared(algorithm, Algorithms.personal) is None or held is None:
        return None
    return PersonalEvaluator(model, exchange, data, cast(FederatedData, held), loss, task)
