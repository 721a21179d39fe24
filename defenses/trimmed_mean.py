"""Coordinate-wise trimmed mean.

Source: Yin, Chen, Ramchandran, Bartlett. Byzantine-Robust Distributed Learning: Towards Optimal
Statistical Rates. ICML 2018, Definition 2. arXiv:1803.01498
"""

from dataclasses import dataclass

import numpy as np

from ..core.contracts import Verdict
from ..core.updates import Updates
from .columns import Array, from_sorted
from .fallback import OnInfeasible, check_robustness, fall_back


@dataclass(frozen=True)
class TrimmedMean:
    """Average each coordinate after dropping its ``num_byzantine`` extremes on either side.

    Every client weighs the same, whatever its ``num_examples``.

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
        f = int(self.beta * cohort_size) if self.beta is not None else self.num_byzantine or 0
        if cohort_size == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        if cohort_size <= 2 * f:
            reason = f"trimming {f} a side needs a cohort above {2 * f}, got {cohort_size}"
            return fall_back(self.on_infeasible, updates, reason), state

        def inner_mean(ordered: Array) -> Array:
            means: Array = ordered[:, f : cohort_size - f].mean(axis=1, dtype=np.float64)
            return means

        return Verdict(from_sorted(updates.vectors, inner_mean)), state
