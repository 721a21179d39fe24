"""Evasion: attackers that know by which rules a defense with a memory of clients convicts, and keep to them.

Source: an adaptive attack of our own against MUD-HoG's statistical tests, by the rule that a defense is worth
what is left of it against who knows it (Tramer, Carlini, Brendel, Madry. On Adaptive Attacks to Adversarial
Example Defenses. NeurIPS 2020. arXiv:2002.08347).
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates, row_norms

Mode = Literal["under", "rotate", "warm_up", "drift"]
MODES = ("under", "rotate", "warm_up", "drift")


@dataclass(frozen=True)
class Evasion:
    """Turn the own update against the crowd, but no further, no more often or no longer than goes unseen.

    What the crowd wants is estimated by the mean of what the attackers would honestly have sent. After an
    attack on data (``update`` in a scenario) the own updates are the poisoned ones.

    Attributes:
        mode: ``"under"``: in every round take away as much of the crowd's direction as leaves the update's
            cosine with it at ``margin``, at ``scale`` times the own length; an update that is the crowd's
            direction and nothing else, as of a single attacker, leans to a side drawn by lot (0 if it has one
            parameter only). ``"rotate"``: in each round one of ``period`` groups of attackers sends minus
            ``scale`` times its update, the others are honest. ``"warm_up"``: so do all in the first
            ``period`` rounds, and are honest then. ``"drift"``: the factor of the own update goes from 1 down
            to minus ``scale`` in ``period`` equal steps, one a round.
        scale: How long what is sent is, in units of the own update's L2 norm, above 0.
        margin: For ``under`` only: the cosine that is kept, from 0 to below 1.
        period: Rounds or groups, at least 1. Counted in the run's rounds, from 0.
    """

    mode: Mode = "under"
    scale: float = 1.0
    margin: float = 0.1
    period: int = 4

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.COLLUDERS

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got '{self.mode}'")
        if not (self.scale > 0 and isfinite(self.scale)):
            raise ValueError(f"scale must be finite and above 0, got {self.scale}")
        if not 0 <= self.margin < 1:
            raise ValueError(f"margin must be from 0 to below 1, got {self.margin}")
        if self.period < 1:
            raise ValueError(f"period must be at least 1, got {self.period}")

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        if self.mode == "under":
            return own.with_vectors(self._leaning(own.vectors, view.generator)), state
        groups = min(self.period, len(own))  # so that somebody always attacks
        factors = torch.tensor([self._factor(n % groups, groups, view.round) for n in range(len(own))])  # [k]
        return own.with_vectors(own.vectors * factors[:, None].to(own.vectors.dtype)), state

    def _factor(self, group: int, groups: int, round_: int) -> float:
        """Return what an attacker multiplies its honest update with in a round."""
        if self.mode == "drift":
            return max(-self.scale, 1.0 - (1.0 + self.scale) * round_ / self.period)
        attacks = round_ < self.period if self.mode == "warm_up" else group == round_ % groups
        return -self.scale if attacks else 1.0

    def _leaning(self, vectors: Tensor, rng: np.random.Generator) -> Tensor:
        """Return updates whose cosine with the colluders' mean is at most ``margin``.  # [k, P]"""
        exact = vectors.double()
        mean = exact.mean(dim=0)
        norm = float(mean.norm())
        if norm < 1e-12:
            return vectors
        along = (exact @ mean / norm)[:, None]  # [k, 1]
        across = exact - along * mean / norm
        bare = (along[:, 0] > 0) & (row_norms(across) < 1e-9 * row_norms(exact))  # [k]
        across[bare] = along[bare] * _sides(int(bare.sum()), mean / norm, rng)
        width = row_norms(across)[:, None]
        kept = torch.minimum(along, width * self.margin / (1 - self.margin**2) ** 0.5)
        leaning = across + kept * mean / norm
        lengths = row_norms(leaning)[:, None].clamp(min=1e-300)
        return (leaning * (self.scale * row_norms(exact)[:, None] / lengths)).to(vectors.dtype)


def _sides(count: int, direction: Tensor, rng: np.random.Generator) -> Tensor:
    """Return unit vectors drawn by lot, orthogonal to a unit vector [P]; 0 if P is 1.  # [count, P]"""
    drawn = torch.from_numpy(rng.normal(size=(count, len(direction))))
    drawn -= (drawn @ direction)[:, None] * direction
    return drawn / row_norms(drawn)[:, None].clamp(min=1e-300)
