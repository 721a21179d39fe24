"""PCGrad: what of an update points against another client's is taken out of it.

Source: Yu, Kumar, Gupta, Levine, Hausman, Finn. Gradient Surgery for Multi-Task Learning. NeurIPS 2020,
Algorithm 1. arXiv:2001.06782. Clients in the place of tasks are this package's own transfer.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from ..core.updates import Updates
from .parts.columns import Array, mix
from .parts.draws import stream
from .parts.geometry import gram_of


@dataclass(frozen=True)
class PCGrad:
    """Project each update, in turn, onto the normal plane of every other that it has a negative product with.

    Each client goes through the others in a random order of its own, and compares what is left of its
    update with theirs as they came. Without conflicts the updates stay as they are, to the last bit; the
    paper's rule is ``mean`` behind it, with equal weights. It has no options.

    It is no defense: who sends the negative of an honest update erases that update's direction from all.
    """

    mixes_clients: ClassVar[bool] = True
    stale: ClassVar[bool] = True  # it remembers the number of rounds alone

    def init(self) -> int:
        """Return the number of rounds so far."""
        return 0

    def transform(self, updates: Updates, state: int) -> tuple[Updates, int]:
        if len(updates) < 2:
            return updates, state + 1
        draws = stream(updates, "pcgrad", state)
        orders = draws.permuted(np.tile(np.arange(len(updates)), (len(updates), 1)), axis=1)  # [K, K]
        surgery = projections(gram_of(updates.vectors), orders)
        if (surgery == np.eye(len(surgery))).all():
            return updates, state + 1
        projected, most = (
            mix(updates.vectors, torch.from_numpy(surgery)),
            torch.finfo(updates.vectors.dtype).max,
        )
        return updates.with_vectors(projected.clamp_(-most, most)), state + 1


def projections(gram: Array, orders: Array) -> Array:
    """Return C, so that the rows of C U are the projected updates.  # [K, K]

    Args:
        gram: Inner products of the updates, float64.  # [K, K]
        orders: In which order each client goes through all; itself and updates of length 0 are passed over.
            # [K, K]
    """
    rows, lengths = np.arange(len(gram)), np.diagonal(gram)
    surgery = np.eye(len(gram))
    for others in orders.T:
        products = (surgery * gram[others]).sum(axis=1)  # of what is left of each with its next one
        against = (products < 0) & (others != rows) & (lengths[others] > 0)
        who, whom = rows[against], others[against]
        surgery[who, whom] -= products[against] / lengths[whom]
    return surgery
