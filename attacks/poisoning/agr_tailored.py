"""AGR-tailored: the step against the mean that takes the server's own rule farthest away.

Source: Shejwalkar, Houmansadr. Manipulating the Byzantine: Optimizing Model Poisoning Attacks and Defenses
for Federated Learning. NDSS 2021, Section IV-B and Algorithm 1. The paper writes a condition for each rule
(is the malicious update selected; does the aggregate go farther). Here it is one for all of them: the rule is
asked, and a gamma is better that takes its aggregate farther from the honest mean, with an attacker counted.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates
from .parts.deviation import Direction, along_direction, check_search
from .parts.moments import check_knowledge, known_honest, mean_and_std, send_all
from .parts.probing import ask, crowd, selected


@dataclass(frozen=True)
class AGRTailored:
    """Send mean - gamma p with the gamma that moves the known rule's aggregate farthest from the honest mean.

    The search halves its steps: up from a gamma that is better than all before it, down from any other one. A
    rule that lets gamma in up to some limit, and one that saturates, is taken to that limit. Below a gamma
    that was accepted none is tried again: a second peak further down is not found.

    Attributes:
        direction: p: the honest ``"std"`` of each coordinate (ddof = 1), the ``"sign"`` of the mean, or
            the mean as a ``"unit"`` vector.
        start_gamma: Where the search starts, above 0 (the authors: 3 to 30, by the rule). No gamma above
            twice that is found.
        tolerance: Where the search stops, above 0, in units of gamma; every halving asks the rule once.
        knowledge: ``"omniscient"`` takes every honest update of the cohort for honest behaviour,
            ``"colluders"`` only what the attackers themselves would honestly have sent.
    """

    direction: Direction = "std"
    start_gamma: float = 10.0
    tolerance: float = 1e-2
    knowledge: UpdateKnowledge = UpdateKnowledge.OMNISCIENT

    knows_defense: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_knowledge(self.knowledge)
        check_search(self)

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        row, _ = self.tailored(own, view)
        return send_all(own, row), state

    def tailored(self, own: Updates, view: View) -> tuple[Tensor, float]:
        """Return (what is sent [P], gamma)."""
        mean, std = mean_and_std(known_honest(own, view))
        p = along_direction(mean, std, self.direction)
        gamma, step, best, most = self.start_gamma, self.start_gamma, 0.0, harm_of(mean, mean, own, view)
        least = 1e-9 * float(p.norm())  # what is no rounding error
        while abs(best - gamma) > self.tolerance:
            reached = harm_of(mean - gamma * p, mean, own, view)
            if reached > most + least:
                best, most = gamma, reached
                gamma += step / 2
            else:
                gamma -= step / 2
            step /= 2
        return mean - best * p, best


def harm_of(row: Tensor, mean: Tensor, own: Updates, view: View) -> float:
    """Return how far the aggregate is from the honest mean where all send ``row`` [P]; -1 if none counts."""
    cohort = crowd(row, own, view)
    verdict = ask(view, cohort)
    if not selected(verdict, cohort, view):
        return -1.0
    return float(torch.linalg.vector_norm(verdict.aggregate.double() - mean))
