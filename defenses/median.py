"""Coordinate-wise median.

Source: Yin, Chen, Ramchandran, Bartlett. Byzantine-Robust Distributed Learning: Towards Optimal
Statistical Rates. ICML 2018, Definition 1. arXiv:1803.01498
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ..core.contracts import Verdict
from ..core.updates import Updates
from .parts.absent import each_coordinate
from .parts.columns import Even, from_sorted, middle


@dataclass(frozen=True)
class Median:
    """Take the median of each coordinate, over the clients that have it.

    Every client weighs the same, whatever its ``num_examples``.

    Attributes:
        even: What an even cohort takes: the ``"mean"`` of the two middle values (numpy, flwr,
            byzfl), or the ``"lower"`` (``torch.median``, the baselines published beside MUD-HoG).
    """

    even: Even = "mean"

    partial: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_even(self.even)

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state

        def median(cohort: Updates) -> Tensor:
            return from_sorted(cohort.vectors, lambda ordered: middle(ordered, self.even))

        return Verdict(each_coordinate(updates, median)), state


def check_even(even: str) -> None:
    """Raise ``ValueError`` for an unknown median of an even number of values."""
    if even not in ("mean", "lower"):
        raise ValueError(f"even must be mean or lower, got '{even}'")
