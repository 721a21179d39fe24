"""A block of clients that train together: what they start from, what they send and what they remember."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...core.contracts import Groups, LocalTraining, LocalWork
from ..exchange.exchange import PERSONAL, Exchange

if TYPE_CHECKING:
    from ..exchange.messages import Broadcast
    from .defending import Defending


Retrained = Callable[[int, int, LocalTraining], Tensor | None]
"""``(client_id, round, training) -> update [P]`` that an attack wrote itself, or None."""


class Block:
    """Who trains, from what, and where what becomes of it is written.

    Attributes:
        sent: What the server sent, on the device to train on.
        ids: The clients, ascending.
        messages: What they send; written by ``finish``.  # [K, M]
        update: Their local minus the received parameters; written by whoever trains them.  # [K, P]
        shared: What else a rule is told, by group; None for one that looks at parameters alone.  # [P] each
        memory: What they remember then; written by ``finish``.  # [K, S]
        facts: What they state beside their messages, on the CPU; written by ``finish``.  # [K, F]
    """

    def __init__(
        self,
        exchange: Exchange,
        training: LocalTraining,
        broadcast: Broadcast,
        ids: list[int],
        device: str,
        homes: tuple[Tensor, Tensor] | None = None,
        defending: Defending | None = None,
        retrained: Retrained | None = None,
    ) -> None:
        self._retrained = retrained
        self._exchange, self._training = exchange, training
        self.sent, self.ids, self._defending = broadcast.to(device), ids, defending
        if homes is None or device != "cpu":
            sizes = exchange.up.num_parameters, exchange.memory.num_parameters
            homes = (
                torch.empty(len(ids), sizes[0], device=device),
                torch.empty(len(ids), sizes[1], device=device),
            )
        self.messages, self.memory = homes
        self.update = exchange.home(self.messages)
        self.facts = torch.zeros(len(ids), len(exchange.statement), dtype=torch.float64)
        self.shared, self._own = exchange.besides(self.sent.extra, self.sent.memory)

    def own(self, rows: slice) -> Groups | None:
        """Return what some of the clients remember, as ``shared``.  # [k, P] each"""
        return None if self._own is None else {name: kept[rows] for name, kept in self._own.items()}

    def finish(
        self,
        rows: slice,
        steps: list[int],
        whole: tuple[Tensor, Tensor] | None = None,
        personal: Tensor | None = None,
    ) -> None:
        """Write what some of the clients send and remember, once they have trained: of changed updates.

        Args:
            rows: Which of them.
            steps: How many local steps each of these took.
            whole: The gradients of their mean losses over all their examples, at what they received, and
                these losses, where the rule asks for them.  # [k, P], [k]
            personal: Their own models after training, where they have some: in the place of those that they
                remember.  # [k, P]
        """
        counts = torch.tensor(steps, dtype=torch.float32, device=self.update.device)[:, None]
        work = LocalWork(self._training, counts, *(whole or ()))
        update, received = self.update[rows], self.sent.params
        for row, client_id in enumerate(self.ids[rows] if self._retrained is not None else ()):
            assert self._retrained is not None
            if (own_way := self._retrained(client_id, self.sent.round, self._training)) is not None:
                update[row] = own_way.to(update.device)
        if self._defending is not None:
            update.copy_(self._defending.changed(update, self.sent, self.ids[rows]))
        if self.facts.shape[1]:
            self.facts[rows] = self._exchange.statement.by(update, work)
        home = self.messages[rows], self.memory[rows]
        own = self.own(rows)
        if own is not None and personal is not None:
            own = {**own, PERSONAL: personal}
        self._exchange.finish(home, update, received, self.shared, own, work)


@dataclass(frozen=True, eq=False)
class BlockResult:
    """What else is known of a block that trained.

    Attributes:
        counts: Examples that each client holds, int64.  # [K]
        losses: Each one's mean loss over its local steps.  # [K]
        buffers: The clients' floating buffers; none where models have none.  # [K, Q]
    """

    counts: Tensor
    losses: Tensor
    buffers: Tensor
