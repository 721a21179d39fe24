"""Fang's attack on trimmed mean and median: just beyond the honest extremes, on the wrong side.

Source: Fang, Cao, Jia, Gong. Local Model Poisoning Attacks to Byzantine-Robust Federated Learning. USENIX
Security 2020, Section 4.4 (full knowledge). arXiv:1911.11815
"""

from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates
from .parts.moments import check_knowledge, known_honest, mean_and_std


@dataclass(frozen=True)
class FangTrim:
    """Send, in every coordinate, values just outside the honest ones, against the sign of their mean.

    Each attacker draws its own: uniformly between the honest maximum and that times (or over) ``spread``
    where the mean is negative, and likewise below the minimum where it is positive. A coordinate whose
    mean is 0 stays at 0.

    Attributes:
        spread: How far beyond the extremes, as a factor above 1 (the paper's b).
        knowledge: ``"omniscient"`` takes every honest update of the cohort for honest behaviour,
            ``"colluders"`` only what the attackers themselves would honestly have sent. (The paper's form
            for partial knowledge is another one: it draws beyond 3 standard deviations of those.)
    """

    spread: float = 2.0
    knowledge: UpdateKnowledge = UpdateKnowledge.OMNISCIENT

    def __post_init__(self) -> None:
        check_knowledge(self.knowledge)
        if not (self.spread > 1 and isfinite(self.spread)):
            raise ValueError(f"spread must be finite and above 1, got {self.spread}")

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        low, high = bounds(known_honest(own, view), self.spread)
        draws = torch.from_numpy(view.generator.random(tuple(own.vectors.shape)))  # [M, P]
        return own.with_vectors((low + draws * (high - low)).to(own.vectors.dtype)), state


def bounds(honest: Tensor, spread: float) -> tuple[Tensor, Tensor]:
    """Return the lower and upper ends of what is drawn, float64.  # [P], [P]"""
    mean, _ = mean_and_std(honest)
    top, bottom = honest.amax(dim=0).double(), honest.amin(dim=0).double()
    beyond_top = torch.where(top > 0, top * spread, top / spread)
    beyond_bottom = torch.where(bottom > 0, bottom / spread, bottom * spread)
    zero = torch.zeros_like(mean)
    low = torch.where(mean < 0, top, torch.where(mean > 0, beyond_bottom, zero))
    high = torch.where(mean < 0, beyond_top, torch.where(mean > 0, bottom, zero))
    return low, high
