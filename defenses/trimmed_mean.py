"""Coordinate-wise trimmed mean.

Source: Yin, Chen, Ramchandran, Bartlett. Byzantine-Robust Distributed Learning: Towards Optimal
Statistical Rates. ICML 2018, Definition 2. arXiv:1803.01498
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from torch import Tensor

from ..core.contracts import Verdict
from ..core.updates import Updates
from .parts.absent import each_coordinate
from .parts.columns import Array, from_sorted
from .parts.fallback import OnInfeasible, check_robustness, fall_back


@dataclass(frozen=True)
class TrimmedMean:
    """Average each coordinate after dropping its ``num_byzantine`` extremes on either side.

    Every client weighs the same, whatever its ``num_examples``. A coordinate that some clients do not have is
    judged by those that have it. Where these are too few, and ``on_infeasible`` is ``"raise"``, it stays as
    it was, and the verdict says so.

    Attributes:
        num_byzantine: Malicious clients to survive in one cohort, at least 0 (the paper's beta times
            the cohort size). The cohort must be above twice that. Either this or ``beta`` is given.
        beta: Instead: the share to drop on either side, from 0 to below 0.5; of K clients that is
            floor(beta K), as flwr has it.
        on_infeasible: What to do with a smaller cohort: ``"raise"``, or take the ``"mean"`` or ``"median"``.
    """

    num_byzantine: int | None = None
    beta: float | None = None
    on_infeasible: OnInfeasible = "raise"

    partial: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if (self.num_byzantine is None) == (self.beta is None):
            raise ValueError(
                f"either num_byzantine or beta must be given, got {self.num_byzantine} and {self.beta}"
            )
        if self.beta is not None and not 0 <= self.beta < 0.5:
            raise ValueError(f"beta must be from 0 to below 0.5, got {self.beta}")
        check_robustness(self.num_byzantine or 0, self.on_infeasible)

    @property
    def least_cohort(self) -> int:
        """The smallest cohort, if not empty, that does not raise."""
        return 2 * (self.num_byzantine or 0) + 1 if self.on_infeasible == "raise" else 1

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        cohort_size = len(updates)
        if cohort_size == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        f = self._trimmed(cohort_size)
        if cohort_size <= 2 * f:
            return fall_back(self.on_infeasible, updates, _too_small(f, cohort_size)), state
        few: list[int] = []  # coordinates with too few clients, by pattern

        def rule(cohort: Updates) -> Tensor:
            if len(cohort) > 2 * self._trimmed(len(cohort)):
                return from_sorted(cohort.vectors, self._inner_mean)
            few.append(cohort.vectors.shape[1])
            if self.on_infeasible == "raise":
                return cohort.vectors.new_zeros(few[-1])
            return fall_back(self.on_infeasible, cohort, "").aggregate

        verdict = Verdict(each_coordinate(updates, rule))
        if not few:
            return verdict, state
        what = "0 for them" if self.on_infeasible == "raise" else f"the {self.on_infeasible} instead"
        told = f"{sum(few)} coordinates have too few clients to trim: {what}"
        return replace(verdict, fallback=told), state

    def _trimmed(self, cohort_size: int) -> int:
        """Return how many of so many clients are dropped on either side."""
        return int(self.beta * cohort_size) if self.beta is not None else self.num_byzantine or 0

    def _inner_mean(self, ordered: Array) -> Array:
        """Return the means of sorted values [B, K] without the extremes.  # [B]"""
        f, cohort_size = self._trimmed(ordered.shape[1]), ordered.shape[1]
        means: Array = ordered[:, f : cohort_size - f].mean(axis=1, dtype=np.float64)
        return means


def _too_small(f: int, cohort_size: int) -> str:
    return f"trimming {f} a side needs a cohort above {2 * f}, got {cohort_size}"
