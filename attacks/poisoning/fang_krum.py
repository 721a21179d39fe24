"""Fang's attack on Krum: the longest step against the mean that Krum still selects.

Source: Fang, Cao, Jia, Gong. Local Model Poisoning Attacks to Byzantine-Robust Federated Learning. USENIX
Security 2020, Section 4.3 (full knowledge). arXiv:1911.11815; the first step as in the code of
Shejwalkar and Houmansadr, NDSS 2021, with the received model at 0 in update space
"""

from dataclasses import dataclass
from math import inf, sqrt
from typing import ClassVar

from torch import Tensor

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates
from .parts.geometry import along, squared_distances
from .parts.moments import known_honest, mean_and_std, send_all
from .parts.probing import ask, crowd, selected


@dataclass(frozen=True)
class FangKrum:
    """Send -lambda sign(mean), halving lambda until the server's own rule selects an attacker.

    Selected means that some attacker has a weight in the verdict. A rule that gives no weights (a median)
    excludes nobody, so that the first lambda stands. The search gives up below ``stop``, and sends the lambda
    that it has come to, selected or not: updates whose coordinates are of that size or smaller want a smaller
    ``stop``.

    Attributes:
        stop: The lambda below which the search gives up, in the update's units, above 0 (the authors' 1e-5).
    """

    stop: float = 1e-5

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OMNISCIENT
    knows_defense: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.stop < inf:
            raise ValueError(f"stop must be above 0 and finite, got {self.stop}")

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        honest = known_honest(own, view)
        mean, _ = mean_and_std(honest)
        step, against = first_step(honest, len(own)), -mean.sign()
        while step >= self.stop and not _selected(step * against, own, view):
            step /= 2
        return send_all(own, step * against), state


def first_step(honest: Tensor, num_malicious: int) -> float:
    """Return an upper bound for the lambda that Krum can select (the paper's Theorem 1).

    Distances are not squared. With b honest updates, each one's b - f - 2 nearest count.
    """
    count, size = len(honest), honest.shape[1]
    nearest = max(count - 2 - num_malicious, 0)
    distances = squared_distances(honest).sqrt().sort(dim=1).values[:, 1 : nearest + 1]  # itself left out
    closest = float(distances.sum(dim=1).min())
    zero = honest.new_zeros(size).double()
    longest = float(along(honest, zero, zero)[0].max().sqrt())
    return closest / (max(count - num_malicious - 1, 1) * sqrt(size)) + longest / sqrt(size)


def _selected(row: Tensor, own: Updates, view: View) -> bool:
    cohort = crowd(row, own, view)
    return selected(ask(view, cohort), cohort, view)
