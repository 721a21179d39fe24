"""The seam between a round and the machines that train its clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ...core.matrices import large
from ...core.updates import Updates
from ..exchange.messages import Broadcast, Summed, Trained

if TYPE_CHECKING:
    from ..scoring.scorer import Answers

Array = np.ndarray[Any, Any]


class Kernel(Protocol):
    """What a worker trains blocks of clients with."""

    def train(
        self, broadcast: Broadcast, client_ids: Array, homes: tuple[Tensor, Tensor] | None = None
    ) -> Trained:
        """Return the block's updates in ascending client id, made in ``homes`` where that can be."""

    def train_sum(self, broadcast: Broadcast, client_ids: Array) -> Summed:
        """Return the block's weighted sum."""


class ClientPool(Protocol):
    """Train a cohort, wherever, and score a model. Equal arguments, equal bits."""

    def train(self, broadcast: Broadcast, cohort: Array, expected_size: float) -> Trained:
        """Return the cohort's updates in ascending client id."""

    def train_sum(self, broadcast: Broadcast, cohort: Array) -> Summed:
        """Return the cohort's weighted sum: no single update leaves the worker that computed it."""

    def score(self, broadcast: Broadcast) -> Answers:
        """Return what the model with the broadcast's parameters makes of the test set."""

    def close(self) -> None:
        """Give back whatever the pool holds."""


def blocks(cohort: Array, height: int) -> list[Array]:
    """Return the cohort cut into consecutive blocks whose sizes differ by one at most.

    The rule looks at the cohort and the kernel alone, never at the number of workers: what is computed
    block by block is the same everywhere. Clients trained one by one go into 16 blocks, so that no worker
    waits for long; stacked ones into 4, or into 2 where that makes stacks of full height, or where they may
    be higher than a CPU's. No block has more than 32, or than such a stack.
    """
    most = max(32, height)
    number = 16 if height == 1 else 2 if len(cohort) >= height or most > 32 else 4
    number = max(min(len(cohort), number), -(-len(cohort) // most))
    return np.array_split(cohort, number) if number else []


def block_broadcasts(broadcast: Broadcast, cut: Sequence[Array]) -> list[Broadcast]:
    """Return what each block's clients receive: they differ in what these remember."""
    starts = np.cumsum([0, *map(len, cut)])
    return [broadcast.to_block(int(start), len(block)) for start, block in zip(starts, cut, strict=False)]


class Rows:
    """Gathers the blocks of ``train`` in one matrix, in whatever order they come."""

    def __init__(self, broadcast: Broadcast, cohort: Array, cut: Sequence[Array]) -> None:
        self._starts = np.cumsum([0, *map(len, cut)])
        self._ids = torch.from_numpy(cohort.astype(np.int64))
        self._vectors = large(len(cohort), broadcast.message_size)  # [K, M]
        self._buffers = torch.empty(len(cohort), len(broadcast.buffers))  # [K, Q]
        self._counts = torch.empty(len(cohort), dtype=torch.int64)
        self._losses = torch.empty(len(cohort))
        self._norms = torch.empty(len(cohort), dtype=torch.float64)
        self._sent_norms = torch.empty(len(cohort), dtype=torch.float64)
        self._memory = large(len(cohort), broadcast.memory.shape[1])  # [K, S]
        self._facts = torch.empty(len(cohort), broadcast.num_facts, dtype=torch.float64)  # [K, F]

    def homes(self, block: int) -> list[Array]:
        """Return where one block's ``Trained.arrays`` belong."""
        rows = slice(self._starts[block], self._starts[block + 1])
        facts = (self._facts,) if self._facts.shape[1] else ()
        columns = (self._losses, self._norms, self._sent_norms, self._memory, *facts)
        return [t.numpy()[rows] for t in (self._vectors, self._buffers, self._counts, *columns)]

    def places(self, block: int) -> tuple[Tensor, Tensor]:
        """Return where one block's messages and memory belong."""
        rows = slice(self._starts[block], self._starts[block + 1])
        return self._vectors[rows], self._memory[rows]

    def result(self, expected_size: float) -> Trained:
        """Return the cohort, once every block is there."""
        told = expected_size, self._buffers
        updates = Updates(self._vectors, self._ids, self._counts, *told, facts=self._facts)
        return Trained(updates, self._losses, self._norms, self._sent_norms, self._memory)


class Sums:
    """Gathers the blocks of ``train_sum``, and adds them up in the blocks' order."""

    def __init__(self, broadcast: Broadcast, cohort: Array, cut: Sequence[Array]) -> None:
        self._starts = np.cumsum([0, *map(len, cut)])
        self._ids = torch.from_numpy(cohort.astype(np.int64))
        self._totals = torch.empty(len(cut), len(broadcast.params), dtype=torch.float64)  # [blocks, P]
        self._buffers = torch.zeros(len(cut), len(broadcast.buffers), dtype=torch.float64)
        self._counts = torch.empty(len(cohort), dtype=torch.int64)
        self._losses = torch.empty(len(cohort))
        self._raw_norms = torch.empty(len(cohort), dtype=torch.float64)
        self._norms = torch.empty(len(cohort), dtype=torch.float64)
        self._finite = torch.empty(len(cohort), dtype=torch.bool)

    def homes(self, block: int) -> list[Array]:
        """Return where one block's ``Summed.arrays`` belong."""
        rows = slice(self._starts[block], self._starts[block + 1])
        columns = self._columns
        return [t.numpy()[block] for t in (self._totals, self._buffers)] + [t.numpy()[rows] for t in columns]

    def result(self) -> Summed:
        """Return the cohort, once every block is there."""
        total = self._totals[0] if len(self._totals) == 1 else self._totals.sum(dim=0)
        buffers = self._buffers.sum(dim=0)
        return Summed(self._ids, total, buffers, *self._columns)

    @property
    def _columns(self) -> tuple[Tensor, ...]:
        return self._counts, self._losses, self._raw_norms, self._norms, self._finite


def put(homes: Sequence[Array], parts: Sequence[Array]) -> None:
    """Copy a block's arrays to where they belong, those that are not there already."""
    for home, part in zip(homes, parts, strict=True):
        if not np.may_share_memory(home, part) or home.ctypes.data != part.ctypes.data:
            home[...] = part
