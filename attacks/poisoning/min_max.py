"""Min-Max: as far from the honest mean as two honest updates are from each other.

Source: Shejwalkar, Houmansadr. Manipulating the Byzantine: Optimizing Model Poisoning Attacks and Defenses
for Federated Learning. NDSS 2021, Section IV-C (the AGR-agnostic Min-Max attack)
"""

from dataclasses import dataclass

from torch import Tensor

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates
from .parts.deviation import Direction, check_search, farthest
from .parts.moments import check_knowledge, known_honest, send_all


@dataclass(frozen=True)
class MinMax:
    """Send mean - gamma p with the largest gamma that hides in the honest crowd.

    The distance to the farthest honest update may be at most the largest distance between two of them.

    Attributes:
        direction: p: the honest ``"std"`` of each coordinate (ddof = 1), the ``"sign"`` of the mean, or
            the mean as a ``"unit"`` vector.
        start_gamma: Where the search for gamma starts, above 0 (the authors: 10 or 50). No gamma above
            twice that is found.
        tolerance: Where the search stops, above 0, in units of gamma: standard deviations along ``"std"``,
            the update's own units along the others, where small updates want a smaller one (the authors'
            1e-5).
        knowledge: ``"omniscient"`` takes every honest update of the cohort for honest behaviour,
            ``"colluders"`` only what the attackers themselves would honestly have sent.
    """

    direction: Direction = "std"
    start_gamma: float = 10.0
    tolerance: float = 1e-5
    knowledge: UpdateKnowledge = UpdateKnowledge.OMNISCIENT

    def __post_init__(self) -> None:
        check_knowledge(self.knowledge)
        check_search(self)

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        row, _ = most_distant(self, known_honest(own, view))
        return send_all(own, row), state


def most_distant(attack: MinMax, honest: Tensor) -> tuple[Tensor, float]:
    """Return (what is sent [P], gamma) against honest updates [H, P]."""
    return farthest(
        attack,
        honest,
        size=lambda squares: squares.max(),
        limit=lambda squares: squares.max(),
    )
