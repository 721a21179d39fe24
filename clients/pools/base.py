"""The seam between a round and the machines that train its clients."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from ...core.updates import Updates
from ..kernel import Broadcast, Summed, Trained

Array = np.ndarray[Any, Any]


class ClientPool(Protocol):
    """Train a cohort, wherever. Equal arguments, equal bits."""

    def train(self, broadcast: Broadcast, cohort: Array, expected_size: float) -> Trained:
        """Return the cohort's updates in ascending client id."""

    def train_sum(self, broadcast: Broadcast, cohort: Array) -> Summed:
        """Return the cohort's weighted sum: no single update leaves the worker that computed it."""

    def close(self) -> None:
        """Give back whatever the pool holds."""


def blocks(cohort: Array, stacked: bool) -> list[Array]:
    """Return the cohort cut into consecutive blocks whose sizes differ by one at most.

    The rule looks at the cohort and the kernel alone, never at the number of workers: what is computed
    block by block is the same everywhere. Clients trained one by one go into 16 blocks, so that no worker
    waits for long; stacked ones into 4, because a taller stack is a faster one. No block has more than 32.
    """
    if len(cohort) == 0:
        return []
    number = max(min(len(cohort), 4 if stacked else 16), -(-len(cohort) // 32))
    return np.array_split(cohort, number)


class Rows:
    """Gathers the blocks of ``train`` into one matrix, in whatever order they come."""

    def __init__(self, broadcast: Broadcast, cohort: Array, cut: Sequence[Array]) -> None:
        self._starts = np.cumsum([0, *map(len, cut)])
        self._ids = torch.from_numpy(cohort.astype(np.int64))
        self._vectors = torch.empty(len(cohort), len(broadcast.params))  # [K, P]
        self._buffers = torch.empty(len(cohort), len(broadcast.buffers))  # [K, Q]
        self._counts = torch.empty(len(cohort), dtype=torch.int64)
        self._losses = torch.empty(len(cohort))

    def put(self, block: int, parts: Sequence[Array]) -> None:
        """Copy one block's ``Trained.arrays`` into its rows."""
        rows = slice(self._starts[block], self._starts[block + 1])
        homes = (self._vectors, self._buffers, self._counts, self._losses)
        for home, part in zip(homes, parts, strict=True):
            home.numpy()[rows] = part

    def result(self, expected_size: float) -> Trained:
        """Return the cohort, once every block is there."""
        updates = Updates(self._vectors, self._ids, self._counts, expected_size, self._buffers)
        return Trained(updates, self._losses)


class Sums:
    """Gathers the blocks of ``train_sum``, and adds them up in the blocks' order."""

    def __init__(self, broadcast: Broadcast, cohort: Array, cut: Sequence[Array]) -> None:
        self._broadcast, self._ids = broadcast, torch.from_numpy(cohort.astype(np.int64))
        self._parts: list[list[Array]] = [[] for _ in cut]

    def put(self, block: int, parts: Sequence[Array]) -> None:
        """Keep a copy of one block's ``Summed.arrays``."""
        self._parts[block] = [np.array(part) for part in parts]

    def result(self) -> Summed:
        """Return the cohort, once every block is there."""
        sent = self._broadcast
        total = torch.zeros(len(sent.params), dtype=torch.float64)
        buffers = torch.zeros(len(sent.buffers), dtype=torch.float64)
        for part in self._parts:
            total += torch.from_numpy(part[0])
            buffers += torch.from_numpy(part[1])
        columns = [np.concatenate(column) for column in zip(*(p[2:] for p in self._parts), strict=True)]
        if not columns:
            columns = [np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0), np.zeros(0, bool)]
        return Summed(self._ids, total, buffers, *map(torch.from_numpy, columns))
