"""Local training where clients have models of several sizes: those of one size train together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ...core.updates import Updates
from ..exchange.messages import Broadcast, Summed, Trained

if TYPE_CHECKING:
    from ...core.contracts import LocalTraining
    from ...core.observation import Truth
    from ..exchange.levels import Levels
    from .kernel import BlockKernel

Array = np.ndarray[Any, Any]


class LeveledKernel:
    """Train blocks of clients as ``BlockKernel`` does, each client with the model of its level."""

    def __init__(self, levels: Levels, kernels: Callable[[int], BlockKernel]) -> None:
        """Take the levels, and what makes the kernel of each."""
        self.levels, self._kernels = levels, [kernels(number) for number in range(len(levels.parts))]
        self.rule, self._any = levels.algorithm, self._kernels[0]

    @property
    def training(self) -> LocalTraining:
        """How clients of every level train."""
        return self._any.training

    def train(
        self, broadcast: Broadcast, client_ids: Array, homes: tuple[Tensor, Tensor] | None = None
    ) -> Trained:
        """Return the block's updates [K, P] in ascending client id, 0 where a client has nothing, and losses.

        Args:
            broadcast: What the server sent, the whole model's parameters among it.
            client_ids: The block's clients, ascending.
            homes: Where updates [K, P] may be made at once, to save a copy, and an empty memory.
        """
        own = np.array([self.levels.level(i, broadcast.round) for i in client_ids.tolist()])
        size = len(client_ids)
        vectors = torch.zeros(size, len(broadcast.params)) if homes is None else homes[0].zero_()  # [K, P]
        counts, losses = torch.empty(size, dtype=torch.int64), torch.empty(size)
        norms, sent_norms = (torch.empty(size, dtype=torch.float64) for _ in range(2))
        for level in np.unique(own).tolist():
            rows, there = torch.from_numpy(np.flatnonzero(own == level)), self.levels.parts[level].present
            received = replace(broadcast, params=broadcast.params[there], message_length=None)
            trained = self._kernels[level].train(received, client_ids[rows.numpy()])
            vectors[rows[:, None], there.nonzero().flatten()] = trained.updates.vectors
            counts[rows], losses[rows] = trained.updates.num_examples, trained.losses
            norms[rows], sent_norms[rows] = trained.norms, trained.sent_norms
        updates = Updates(vectors, torch.from_numpy(client_ids.astype(np.int64)), counts)
        return Trained(updates, losses, norms, sent_norms)

    def train_sum(self, broadcast: Broadcast, client_ids: Array) -> Summed:
        """Refuse: where clients have models of several sizes each coordinate is divided by its own count."""
        raise AssertionError("clients of several levels are not added up by workers")

    def examples(self, client_id: int, round_: int) -> tuple[Tensor, Tensor]:
        """Return what the client trains on in this round, poisoned if it attacks."""
        return self._any.examples(client_id, round_)

    def batches(self, client_id: int, round_: int, num_examples: int) -> list[Array]:
        """Return the rows of each of the client's local steps in this round."""
        return self._any.batches(client_id, round_, num_examples)

    def truth(self, client_id: int, round_: int) -> Truth:
        """Return the examples behind the client's update, each once, for a scorer's eyes only."""
        return self._any.truth(client_id, round_)
