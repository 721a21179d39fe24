"""Smallest maximum eigenvalue averaging (SMEA).

Source: Allouah, Guerraoui, Gupta, Pinot, Stephan. On the Privacy-Robustness-Utility Trilemma in Distributed
Learning. ICML 2023, Section 4. arXiv:2302.04787
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations, islice
from math import comb

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.contracts import Verdict
from ..core.errors import InfeasibleCohort
from ..core.updates import Updates, weighted_sum
from .parts.columns import Array
from .parts.distances import central_gram
from .parts.fallback import OnInfeasible, check_robustness, least_majority, without_majority

MOST_SETS = 10**6
_SETS, _EXACT = 2**13, 2**8  # looked at together: by power iteration, and by an eigensolver
_TURNS = 6


@dataclass(frozen=True)
class SMEA:
    """Average the K - f updates whose covariance has the smallest top eigenvalue.

    The search is exact: a Rayleigh quotient after some power iterations is a lower bound of a set's top
    eigenvalue, and an eigensolver looks at every set whose bound is not above the best value found. Of equals
    the set that leaves out the last clients is taken.

    Attributes:
        num_byzantine: Malicious clients to survive in one cohort (the paper's f), at least 0. The cohort
            must be above twice that, and have no more than a million subsets of K - f.
        on_infeasible: What to do with a smaller cohort: ``"raise"``, or take the ``"mean"`` or ``"median"``.
    """

    num_byzantine: int
    on_infeasible: OnInfeasible = "raise"

    def __post_init__(self) -> None:
        check_robustness(self.num_byzantine, self.on_infeasible)

    @property
    def least_cohort(self) -> int:
        """The smallest cohort, if not empty, that does not raise."""
        return least_majority(self.num_byzantine, self.on_infeasible)

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        cohort_size, f = len(updates), self.num_byzantine
        if (instead := without_majority("SMEA", f, self.on_infeasible, updates)) is not None:
            return instead, state
        if (sets := comb(cohort_size, f)) > MOST_SETS:
            raise InfeasibleCohort(
                f"smea tries every subset: {cohort_size} clients without {f} have {sets}, at most {MOST_SETS}"
            )
        kept = torch.from_numpy(_best(central_gram(updates.vectors).numpy(), f)).to(torch.float64)
        aggregate = weighted_sum(updates.vectors, kept) / kept.sum()
        return Verdict(aggregate.to(updates.vectors.dtype), kept / kept.sum()), state


def _best(gram: Array, count: int) -> NDArray[np.bool_]:
    """Return who is kept when ``count`` clients are left out for the least top eigenvalue.  # [K]"""
    least, best = np.inf, np.ones(len(gram), dtype=bool)
    for kept in _sets(len(gram), count):
        bounds = _bounds(gram, kept)
        for at in np.array_split(np.argsort(bounds, kind="stable"), -(-len(kept) // _EXACT)):
            at = at[bounds[at] <= least]
            if not len(at):
                break
            top = _tops(gram, kept[at])
            lowest = at[top == top.min()].min()  # of equals the first
            if top.min() < least:
                least, best = float(top.min()), kept[lowest]
    return best


def _sets(cohort_size: int, count: int) -> Iterator[NDArray[np.bool_]]:
    """Yield who is kept, some sets at a time; the first leaves out the last clients.  # [N, K]"""
    left_out = combinations(range(cohort_size - 1, -1, -1), count)
    while some := list(islice(left_out, _SETS)):
        kept = np.ones((len(some), cohort_size), dtype=bool)
        flat = np.fromiter(chain.from_iterable(some), dtype=np.int64).reshape(len(some), count)
        np.put_along_axis(kept, flat, False, axis=1)
        yield kept


def _bounds(gram: Array, kept: NDArray[np.bool_]) -> Array:
    """Return a lower bound of each set's top eigenvalue, times its size, less rounding.  # [N]"""
    size = kept[0].sum()
    along = kept * np.linalg.eigh(gram)[1][:, -1]  # any start will do
    lengths = np.ones(len(kept))
    for _ in range(_TURNS):
        along = kept * (along - along.sum(axis=1, keepdims=True) / size)
        along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-300)
        after = kept * (along @ gram)
        after = kept * (after - after.sum(axis=1, keepdims=True) / size)
        lengths = np.einsum("nk,nk->n", along, after)
        along = after
    bound: Array = lengths * (1 - 1e-9)
    return bound


def _tops(gram: Array, kept: NDArray[np.bool_]) -> Array:
    """Return each set's top eigenvalue, times its size.  # [N]"""
    size = int(kept[0].sum())
    rows = np.nonzero(kept)[1].reshape(len(kept), size)
    part = gram[rows[:, :, None], rows[:, None]]  # [N, n, n]
    middle = part.mean(axis=1, keepdims=True)
    centred = part - middle - middle.swapaxes(1, 2) + middle.mean(axis=2, keepdims=True)
    top: Array = np.linalg.eigvalsh(centred)[:, -1]
    return top
