"""Optimal ALIE: the shift in standard deviations that moves the server's own rule the most.

Source: Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan. Fixing by Mixing: A Recipe for Optimal
Byzantine ML under Heterogeneity. AISTATS 2023 (its optimised attacks). arXiv:2302.01772; line search as in
ByzFL, arXiv:2505.24802
"""

from dataclasses import dataclass
from typing import ClassVar

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates
from .parts.moments import known_honest, mean_and_std
from .parts.probing import check_line_search, most_harmful


@dataclass(frozen=True)
class OptimalALittleIsEnough:
    """Send mean + tau std with the tau that takes the aggregate farthest from the honest mean.

    The attackers know the server's rule and its memory, and ask it once for every tau that they try.

    Attributes:
        evaluations: How many values of tau are tried in a round, at least 1.
        start: The first tau.
        delta: The first step, not 0; it doubles as long as it helps. A negative one searches below
            ``start``: the sign matters to models, see ``alie``.
        ratio: By how much the step shrinks after that, above 0.5 and below 1.
    """

    evaluations: int = 20
    start: float = 0.0
    delta: float = 10.0
    ratio: float = 0.8

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OMNISCIENT
    knows_defense: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_line_search(self)

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        mean, std = mean_and_std(known_honest(own, view))
        return most_harmful(self, lambda tau: mean + tau * std, mean, own, view), state
