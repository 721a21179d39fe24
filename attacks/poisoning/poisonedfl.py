"""PoisonedFL: push the model along one direction for the whole training, as hard as goes through.

Source: Xie, Fang, Gong. Model Poisoning Attacks to Federated Learning via Multi-Round Consistency. CVPR 2025,
Section 4 and Algorithm 1. arXiv:2404.15611. The floor of the factor and ``period``, ``shrink`` and
``significance`` are those of public code (unverified). The paper's clients are fake and have no examples;
here, what an attacker sends in its first round, in which it knows nothing yet, is its honest update.
"""

from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import UpdateKnowledge, View
from ...core.trees import State
from ...core.updates import Updates
from .parts.broadcasts import last_move, no_broadcast
from .parts.moments import send_all


@dataclass(frozen=True)
class PoisonedFL:
    """Send c ||g|| v s from every attacker: s are signs drawn once, g is how the global model moved last.

    v >= 0 is, as a unit vector, how the move differed from what the attackers sent for it, at the move's
    length: large where honest clients move the model. Every ``period`` rounds the attackers count in how many
    coordinates the model went their way since the last count. Where that may well be chance (a one-sided
    binomial test), the factor c shrinks, so that what was screened out or clipped becomes less conspicuous.
    Honest updates are never looked at.

    Attributes:
        scale: c in the beginning, in units of the global update's L2 norm, above 0 (the paper's c^0).
        period: Rounds between two counts, at least 1 (the paper's e).
        shrink: What c is multiplied with, above 0 and below 1 (the paper's beta).
        significance: How seldom chance alone passes the test, above 0 and below 1 (the paper's p).
        floor: The factor below which c never goes, above 0.
    """

    scale: float = 8.0
    period: int = 50
    shrink: float = 0.7
    significance: float = 0.01
    floor: float = 0.5

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.COLLUDERS
    beside_params: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("scale", "floor"):
            if not (getattr(self, name) > 0 and isfinite(getattr(self, name))):
                raise ValueError(f"{name} must be finite and above 0, got {getattr(self, name)}")
        for name in ("shrink", "significance"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must be above 0 and below 1, got {getattr(self, name)}")
        if self.period < 1:
            raise ValueError(f"period must be at least 1, got {self.period}")

    def init(self) -> dict[str, Any]:
        begun = {"signs": None, "sent": None, "scale": self.scale, "counted": None}
        return {"seen": no_broadcast(), **begun}

    def corrupt(self, own: Updates, view: View, state: State) -> tuple[Updates, State]:
        move, seen = last_move(view, state["seen"])
        signs, counted = state["signs"], state["counted"]
        if signs is None:
            signs = _drawn(view.generator, own.vectors.shape[1])
            counted = {"round": view.round, "params": view.params}
        scale = state["scale"]
        if view.round - counted["round"] >= self.period:
            if not went(view.params - counted["params"], signs, self.significance):
                scale = max(scale * self.shrink, min(self.floor, scale))
            counted = {"round": view.round, "params": view.params}
        memory = {"seen": seen, "signs": signs, "scale": scale, "counted": counted}
        if move is None:
            return own, {**memory, "sent": None}
        row = scale * float(move.double().norm()) * magnitudes(move, state["sent"]) * signs
        return send_all(own, row), {**memory, "sent": row}


def _drawn(rng: np.random.Generator, size: int) -> Tensor:
    """Return -1 or 1 for every coordinate, by lot, float64.  # [P]"""
    return torch.from_numpy(2.0 * rng.integers(0, 2, size) - 1.0)


def magnitudes(move: Tensor, sent: Tensor | None) -> Tensor:
    """Return |g - ||g|| / ||k|| k| as a unit vector; 0 where it has no length.  # [P]

    Args:
        move: How the global model moved, g.  # [P]
        sent: What the attackers sent for that, k; None or 0: nothing.  # [P]
    """
    rest: Tensor = move.double()
    if sent is not None and float(sent.norm()) > 0:
        rest = rest - rest.norm() * (sent / sent.norm())
    unit: Tensor = rest.abs() / rest.norm().clamp(min=1e-300)
    return unit


def went(moved: Tensor, signs: Tensor, significance: float) -> bool:
    """Return whether more coordinates moved [P] the signs' way than chance would let: Bin(P, 1/2), as normal.

    A coordinate that did not move did not go their way.
    """
    size, agree = len(signs), int((moved.double() * signs > 0).sum())
    return agree >= size / 2 + NormalDist().inv_cdf(1 - significance) * sqrt(size) / 2
