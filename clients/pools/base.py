"""The seam between a round and the machines that train its clients."""

from typing import Any, Protocol

import numpy as np
import torch

from ...core.updates import Updates, concatenate
from ..kernel import Broadcast, Trained


class ClientPool(Protocol):
    """Train a cohort, wherever."""

    def train(self, broadcast: Broadcast, cohort: np.ndarray[Any, Any], expected_size: float) -> Trained:
        """Return the cohort's updates in ascending client id: equal arguments, equal bits."""

    def close(self) -> None:
        """Give back whatever the pool holds."""


def blocks(cohort: np.ndarray[Any, Any], stacked: bool) -> list[np.ndarray[Any, Any]]:
    """Return the cohort cut into consecutive blocks.

    The rule looks at the cohort and the kernel alone, never at the number of workers: what is computed
    block by block is the same everywhere. Clients trained one by one go into about 16 blocks, so that no
    worker waits for long; stacked ones into about 4, because a taller stack is a faster one.
    """
    size = max(1, min(32, -(-len(cohort) // (4 if stacked else 16))))
    return [cohort[at : at + size] for at in range(0, len(cohort), size)]


def join(parts: list[Trained], broadcast: Broadcast, expected_size: float) -> Trained:
    """Return the cohort made of its blocks; possibly nobody."""
    if not parts:
        nobody = torch.zeros(0, dtype=torch.int64)
        vectors, buffers = torch.zeros(0, len(broadcast.params)), torch.zeros(0, len(broadcast.buffers))
        nothing = torch.zeros(0, dtype=torch.float64)
        return Trained(Updates(vectors, nobody, nobody, expected_size, buffers), torch.zeros(0), nothing)
    return Trained(
        concatenate([p.updates for p in parts], expected_size),
        torch.cat([p.losses for p in parts]),
        torch.cat([p.norms for p in parts]),
    )
