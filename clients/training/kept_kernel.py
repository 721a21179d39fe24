"""Local training where every client keeps a part of the model: one at a time, each from its own whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ...core.layout import Layout
from ...core.updates import Updates, row_norms
from ..exchange.kept import Halves
from ..exchange.messages import Broadcast, Summed, Trained
from ..models.kept import whole_of
from .privatizing import privatized

if TYPE_CHECKING:
    from ...core.contracts import LocalTraining, Privacy
    from ...core.observation import Truth
    from .kernel import BlockKernel

Array = np.ndarray[Any, Any]


class KeptKernel:
    """Train blocks of clients as ``BlockKernel`` does, each from what was exchanged and what it keeps.

    Messages, and so whatever a mechanism does to them before they leave, hold what is exchanged alone.
    """

    def __init__(
        self, model: nn.Module, kernel: Callable[[nn.Module], BlockKernel], privacy: Privacy, noise_seed: int
    ) -> None:
        """Take the run's model, what makes a kernel of a client's whole one, and what clients do to messages.

        Args:
            model: The run's, of which clients keep a part.
            kernel: Makes a kernel that lets out updates as they are, but for noise inside of local steps.
            privacy: What honest clients do to their update before it leaves the house.
            noise_seed: What its noise follows from.
        """
        self._halves, self._layout = Halves.of(model), Layout.of(model)
        self._whole = kernel(whole_of(model))
        self.rule = self._whole.rule
        self._privacy, self._noise_seed = privacy, noise_seed

    @property
    def training(self) -> LocalTraining:
        """How clients train."""
        return self._whole.training

    def train(
        self, broadcast: Broadcast, client_ids: Array, homes: tuple[Tensor, Tensor] | None = None
    ) -> Trained:
        """Return the block's updates [K, P] in ascending client id, and what each client keeps [K, S].

        Args:
            broadcast: What the server sent, and what each client keeps.
            client_ids: The block's clients, ascending.
            homes: Where messages [K, P] and memory [K, S] may be made at once, to save a copy.
        """
        size, ids = len(client_ids), client_ids.astype(np.int64)
        vectors, memory = homes or (torch.empty(size, len(broadcast.params)), broadcast.memory.clone())
        buffers = torch.empty(size, len(broadcast.buffers))
        counts, losses = torch.empty(size, dtype=torch.int64), torch.empty(size)
        for row in range(size):
            own = broadcast.memory[row]
            params, there = self._halves.joined(broadcast.params, broadcast.buffers, own)
            trained = self._alone(broadcast, ids[row : row + 1], params, there)
            update, there = trained.updates.vectors[0], trained.updates.buffers[0]
            vectors[row], buffers[row], _ = self._halves.parted(update, there)
            memory[row] = self._halves.parted(params + update, there)[2]
            counts[row], losses[row] = trained.updates.num_examples[0], trained.losses[0]
        updates = Updates(vectors, torch.from_numpy(ids), counts, buffers=buffers)
        how = self._layout, self._whole.seed, self._noise_seed
        private = privatized(self._privacy, updates, broadcast, *how)
        norms = row_norms(vectors)
        sent = norms if private.vectors is vectors else row_norms(private.vectors)
        return Trained(private, losses, norms, sent, memory)

    def _alone(self, broadcast: Broadcast, client: Array, params: Tensor, buffers: Tensor) -> Trained:
        """Return what one client's training makes of its whole model."""
        none = torch.zeros(0, 0)
        received = replace(broadcast, params=params, buffers=buffers, memory=none, message_length=None)
        return self._whole.train(received, client)

    def train_sum(self, broadcast: Broadcast, client_ids: Array) -> Summed:
        """Refuse: clients that remember are not added up by workers."""
        raise AssertionError("clients that keep a part of the model are not added up by workers")

    def examples(self, client_id: int, round_: int) -> tuple[Tensor, Tensor]:
        """Return what the client trains on in this round, poisoned if it attacks."""
        return self._whole.examples(client_id, round_)

    def batches(self, client_id: int, round_: int, num_examples: int) -> list[Array]:
        """Return the rows of each of the client's local steps in this round."""
        return self._whole.batches(client_id, round_, num_examples)

    def truth(self, client_id: int, round_: int) -> Truth:
        """Return the examples behind the client's update, each once, for a scorer's eyes only."""
        return self._whole.truth(client_id, round_)
