"""Minimum diameter averaging (MDA).

Source: El Mhamdi, Guerraoui, Guirguis, Hoang, Rouault. Genuinely Distributed Byzantine Machine
Learning. PODC 2020. arXiv:1905.03853
"""

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.contracts import Verdict
from ..core.updates import Updates, weighted_sum
from .parts.distances import squared_distances
from .parts.fallback import OnInfeasible, check_robustness, least_majority, without_majority

Sets = NDArray[np.bool_]
"""One set of clients a row; the sets that leave the first clients out of them come first.  # [N, K]"""

MOST_SETS = 10**6


@dataclass(frozen=True)
class MDA:
    """Average the K - f updates whose largest distance to one another is the least.

    Of several such groups the first in client order is taken. The search is exact: it takes the pairs of
    clients from the farthest on and drops one of each, either way, so that the work grows as 2^f at most.

    Attributes:
        num_byzantine: Malicious clients to survive in one cohort (the paper's f), at least 0. The cohort
            must be above twice that. Below 20: 2^f is a million at most.
        on_infeasible: What to do with a smaller cohort: ``"raise"``, or take the ``"mean"`` or ``"median"``.
    """

    num_byzantine: int
    on_infeasible: OnInfeasible = "raise"

    def __post_init__(self) -> None:
        check_robustness(self.num_byzantine, self.on_infeasible)
        if 2**self.num_byzantine > MOST_SETS:  # of a cohort that is large enough there are more groups still
            raise ValueError(
                f"MDA searches 2^num_byzantine groups, at most {MOST_SETS}: num_byzantine must be below 20, "
                f"got {self.num_byzantine}"
            )

    @property
    def least_cohort(self) -> int:
        """The smallest cohort, if not empty, that does not raise."""
        return least_majority(self.num_byzantine, self.on_infeasible)

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        cohort_size, f = len(updates), self.num_byzantine
        if (instead := without_majority("MDA", f, self.on_infeasible, updates)) is not None:
            return instead, state
        kept = ~_dropped(squared_distances(updates.vectors), f)
        weights = torch.from_numpy(kept).to(torch.float64)
        aggregate = weighted_sum(updates.vectors, weights) / (cohort_size - f)
        return Verdict(aggregate.to(updates.vectors.dtype), weights / (cohort_size - f)), state


def _dropped(distances: Tensor, count: int) -> NDArray[np.bool_]:
    """Return which ``count`` clients to leave out for the least diameter.  # [K]"""
    cohort_size = len(distances)
    first, second = np.triu_indices(cohort_size, 1)
    lengths = distances.numpy()[first, second]
    farthest_first = np.argsort(-lengths, kind="stable")
    sets: Sets = np.zeros((1, cohort_size), dtype=bool)
    for _, pairs in groupby(farthest_first.tolist(), key=lambda pair: lengths[pair]):
        before = sets
        for pair in pairs:
            sets = _part(sets, first[pair], second[pair], count)
        if len(sets) == 0:  # nobody can afford to part these: theirs is the least diameter
            return _first_kept(before, count)
    return _first_kept(sets, count)


def _part(sets: Sets, i: Any, j: Any, count: int) -> Sets:
    """Return the sets that hold client i or j, smaller ones grown by either, the full ones gone."""
    parted = sets[:, i] | sets[:, j]
    if parted.all():
        return sets
    grow = sets[~parted]
    grow = grow[grow.sum(axis=1) < count]
    with_i, with_j = grow.copy(), grow.copy()
    with_i[:, i], with_j[:, j] = True, True
    packed = np.packbits(np.concatenate([sets[parted], with_i, with_j]), axis=1)
    return np.unpackbits(np.unique(packed, axis=0), axis=1, count=sets.shape[1]).astype(bool)


def _first_kept(sets: Sets, count: int) -> NDArray[np.bool_]:
    """Return the set, filled up to ``count`` clients, that leaves the first clients in.  # [K]"""
    spare = count - sets.sum(axis=1, keepdims=True)
    from_behind = np.cumsum(~sets[:, ::-1], axis=1)[:, ::-1]
    full = sets | (from_behind <= spare)  # filled up from the last client on, they stay in order
    dropped: NDArray[np.bool_] = full[0]
    return dropped
