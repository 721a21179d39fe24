"""A little is enough: a shift that hides within the spread of the honest updates.

Source: Baruch, Baruch, Goldberg. A Little Is Enough: Circumventing Defenses For Distributed Learning.
NeurIPS 2019. arXiv:1902.06156
"""

from dataclasses import dataclass
from math import isfinite
from statistics import NormalDist
from typing import Literal

from torch import Tensor

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates
from .parts.moments import check_knowledge, known_honest, mean_and_std, send_all

Sign = Literal["plus", "minus", "against"]
SIGNS = ("plus", "minus", "against")


@dataclass(frozen=True)
class ALittleIsEnough:
    """Send the honest mean, moved by ``z`` honest standard deviations, from every malicious client.

    The standard deviation is the sample's (ddof = 1), and 0 with a single honest client.

    Attributes:
        z: The shift, in standard deviations of each coordinate. None takes the paper's z_max for the
            cohort, which is small when attackers are few: 0, so that the honest mean itself is sent, for one
            attacker in any cohort and for two in one of even size.
        sign: Which way each coordinate is moved: ``"plus"`` z (the paper's attack as a client's update, local
            minus global parameters), ``"minus"`` z, or z ``"against"`` the sign of its mean. Distances do not
            tell them apart, but models do: ``"against"`` costs the most (docs/robustness-attacks.md), a ReLU
            network on inputs in [0, 1] loses units to ``"minus"`` and shrugs off ``"plus"``. None is
            ``"plus"`` where z is given, whose own sign counts then, and ``"against"`` for the paper's z_max.
        knowledge: ``"omniscient"`` takes every honest update of the cohort for honest behaviour,
            ``"colluders"`` only what the attackers themselves would honestly have sent.
    """

    z: float | None = None
    knowledge: UpdateKnowledge = UpdateKnowledge.OMNISCIENT
    sign: Sign | None = None

    def __post_init__(self) -> None:
        check_knowledge(self.knowledge)
        if self.z is not None and not isfinite(self.z):
            raise ValueError(f"z must be finite or None, got {self.z}")
        if self.sign is not None and self.sign not in SIGNS:
            raise ValueError(f"sign must be one of {', '.join(SIGNS)} or None, got '{self.sign}'")

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        z = z_max(view.cohort_size, len(own)) if self.z is None else self.z
        mean, std = mean_and_std(known_honest(own, view))
        return send_all(own, mean + z * self._way(mean) * std), state

    def _way(self, mean: Tensor) -> Tensor | float:
        """Return -1 or 1, for all coordinates or for each; 0 where there is nothing to go against.  # [P]"""
        sign = self.sign or ("against" if self.z is None else "plus")
        if sign == "against":
            return -mean.sign()
        return 1.0 if sign == "plus" else -1.0


def z_max(cohort_size: int, num_malicious: int) -> float:
    """Return the largest shift that enough honest clients exceed for a majority to side with it.

    The share of honest clients below it is kept in [0.5, 1 - 1e-6], so that it is never negative
    nor infinite.
    """
    supporters = cohort_size // 2 + 1 - num_malicious  # the paper's s
    honest = cohort_size - num_malicious
    share = (honest - supporters) / honest if honest > 0 else 0.5
    return NormalDist().inv_cdf(min(max(share, 0.5), 1 - 1e-6))
