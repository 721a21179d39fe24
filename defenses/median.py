"""Coordinate-wise median.

Source: Yin, Chen, Ramchandran, Bartlett. Byzantine-Robust Distributed Learning: Towards Optimal
Statistical Rates. ICML 2018, Definition 1. arXiv:1803.01498
"""

from dataclasses import dataclass
from typing import Literal

from ..core.contracts import Verdict
from ..core.updates import Updates
from .columns import Array, from_sorted


@dataclass(frozen=True)
class Median:
    """Take the median of each coordinate.

    Every client weighs the same, whatever its ``num_examples``.

    Attributes:
        even: What an even cohort takes: the ``"mean"`` of the two middle values, or the ``"lower"``.
    """

    even: Literal["mean", "lower"] = "mean"

    def __post_init__(self) -> None:
        if self.even not in ("mean", "lower"):
            raise ValueError(f"even must be mean or lower, got '{self.even}'")

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        cohort_size = len(updates)
        if cohort_size == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        low = (cohort_size - 1) // 2
        high = cohort_size // 2 if self.even == "mean" else low

        def middle(ordered: Array) -> Array:
            middle_values: Array = ordered[:, low] / 2 + ordered[:, high] / 2  # halved first: no overflow
            return middle_values

        return Verdict(from_sorted(updates.vectors, middle)), state
