"""How good the global model is on what each client keeps out of training, and clients' own ones there."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from ...clients.data.base import FederatedData
from ...clients.exchange.exchange import PERSONAL, Exchange
from ...clients.models.kept import kept_names
from ...clients.tasks.fitted import FittedTask, task_of
from ...core.declarations import Algorithms, ClientData, declared
from ...core.errors import named_faults
from ...core.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...core.client_rows import ClientRows

_AT_ONCE = 1000  # examples of a forward pass


@dataclass(frozen=True)
class PersonalScore:
    """One client's scores.

    Attributes:
        client_id: Stable id.
        examples: What the client holds out, at least 1.
        accuracy: The share of them that its own model gets right; None of a regression, and without one.
        global_accuracy: The same of the global model.
        loss: Its own model's mean loss on them: that which clients train with; None without one.
        global_loss: The same of the global model.
    """

    client_id: int
    examples: int
    accuracy: float | None
    global_accuracy: float | None
    loss: float | None
    global_loss: float


class PersonalEvaluator:
    """Ask the global model, and clients' own ones where there are any, about what each client holds out."""

    def __init__(
        self,
        model: nn.Module,
        exchange: Exchange,
        data: FederatedData,
        held: FederatedData,
        loss: str,
        task: FittedTask | None = None,
        own: bool = True,
    ) -> None:
        """Take a model, which is copied, what clients remember, the data, what they hold out, loss, task.

        Without models of their ``own`` every client is asked about, also one that was never counted.
        """
        self._model, self._layout = deepcopy(model).eval(), Layout.of(model)
        self._place: slice | None = exchange.memory.groups[PERSONAL] if own else None
        self._exchange = exchange if kept_names(model) else None
        self._own = own or self._exchange is not None
        self._held, self._clients = held, data.num_clients
        self._task = task or task_of(data)
        self._form = self._task.form(loss)

    def score(
        self,
        params: Tensor,
        buffers: Tensor,
        rows: ClientRows,
        served: Callable[[int], Tensor] | None = None,
    ) -> tuple[PersonalScore, ...]:
        """Return the scores of every client that holds something out, by ascending id.

        Of clients with models of their own those that were ever counted. Where clients keep a part of the
        model alone, the global one has that part as it was before the first round.

        Args:
            params: The global model's parameters.  # [P]
            buffers: Its buffers.  # [Q]
            rows: What the clients remember.  # [S] each
            served: By client id, the parameters that the server has for it, where these are not the global
                model's: then they are the client's own model.  # [P]
        """
        everybody = sorted(rows) if self._own else range(self._clients)
        ids = [i for i in everybody if i < self._clients and self._held.num_examples(i) > 0]
        with named_faults("clients' own models cannot be evaluated"), torch.no_grad():
            self._hold(params, buffers)
            if self._exchange is not None:
                self._set(self._exchange.memory.views(self._exchange.first(params)))
            shared = [self._ask(*self._held.client(i)) for i in ids]
            found = []
            if not self._own and served is None:
                counts = [self._held.num_examples(i) for i in ids]
                return tuple(
                    PersonalScore(i, n, None, accuracy, None, loss)
                    for i, n, (accuracy, loss) in zip(ids, counts, shared, strict=True)
                )
            for i, (global_accuracy, global_loss) in zip(ids, shared, strict=True):
                if served is None:
                    self._hold_own(params, buffers, rows[i])
                else:
                    self._hold(served(i), buffers)
                x, y = self._held.client(i)
                accuracy, loss = self._ask(x, y)
                found.append(PersonalScore(i, len(y), accuracy, global_accuracy, loss, global_loss))
        return tuple(found)

    def _ask(self, x: Tensor, y: Tensor) -> tuple[float | None, float]:
        outputs = torch.cat([self._model(part) for part in torch.split(x, _AT_ONCE)])
        loss = float(self._form.mean(outputs.double(), y.double() if y.is_floating_point() else y))
        return self._task.accuracy(outputs, y, loss), loss

    def _hold_own(self, params: Tensor, buffers: Tensor, row: Tensor) -> None:
        """Give the model what one client has as its own."""
        if self._place is not None:
            self._hold(row[self._place], buffers)
        elif self._exchange is not None:
            self._hold(params, buffers)
            self._set(self._exchange.memory.views(row))

    def _hold(self, params: Tensor, buffers: Tensor) -> None:
        self._set({**self._layout.views(params), **self._layout.buffer_views(buffers)})

    def _set(self, values: Mapping[str, Tensor]) -> None:
        there = {**dict(self._model.named_parameters()), **dict(self._model.named_buffers())}
        for name, value in values.items():
            there[name].copy_(value)


def make_evaluator(
    algorithm: object,
    model: nn.Module,
    exchange: Exchange,
    data: FederatedData,
    loss: str,
    task: FittedTask | None = None,
) -> PersonalEvaluator | None:
    """Return what scores models on what clients hold out; None where nobody holds anything out."""
    held = declared(data, ClientData.held_out)
    if held is None:
        return None
    own = declared(algorithm, Algorithms.personal) is not None
    return PersonalEvaluator(model, exchange, data, cast(FederatedData, held), loss, task, own)


def kept_warning(algorithm: object, exchange: Exchange, name: str) -> str | None:
    """Return what the test set says little of, in one line; None where clients keep no part of the model."""
    if declared(algorithm, Algorithms.keeps) is None or not exchange.memory.parameters:
        return None
    return (
        f"with algorithm '{name}' clients keep {exchange.memory.num_parameters} numbers of the model: the "
        "test set is asked of one that has them as they began; held_out = 0.2, say, scores each client's own"
    )
