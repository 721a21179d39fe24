"""3DFed: attackers that ask the server what it did with them, differ from each other, and send decoys.

Source: Li, Ye, Hu, Li, Wang, Wang, Peng, Wang. 3DFed: Adaptive and Extensible Framework for Covert Backdoor
Attack in Federated Learning. IEEE S&P 2023, Section IV (indicators, noise masks, decoys, adaptive tuning).
Thresholds and rules of tuning as in the authors' public code (unverified). A reconstruction: the code finds
indicators by curvature and optimises its masks on the last layer's neurons, from examples and models that an
attack on updates does not see here; ours are the coordinates that hardly move, and noise on all of them.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import UpdateKnowledge, View
from ...core.trees import State
from ...core.updates import Updates
from .parts.broadcasts import last_move, no_broadcast
from .parts.feedback import ACCEPTED, REJECTED, Indicator, read
from .parts.moments import mean_and_std


@dataclass(frozen=True)
class ThreeDFed:
    """Send the colluders' mean update, told apart by noise that cancels, and read off what becomes of it.

    Each attacker puts a value into a coordinate of its own that hardly moves: what the global model moves
    there tells whether its update was accepted, clipped or left out. While none is accepted, the length of
    the noise is drawn anew, and one attacker more becomes a decoy, which sends how the model moved last, with
    one value far out, and draws a detector's attention; decoys that are accepted go back to the attack. Where
    the feedback cannot be, as of a server that adds noise, all of this is given up and the least noise stays.
    What they want is up to the attack on data that this one follows (``update`` in a scenario).

    Attributes:
        alpha: Weight of the loss in local training, above 0 and below 1, beside 1 - alpha for the squared
            distance to the received model.
        least_noise: The shortest noise of one attacker, in units of the mean update's L2 norm, at least 0.
        most_noise: The longest, in the same units, at least ``least_noise``.
        indicator: The value that is put in, in units of the mean update's L2 norm, above 0.
        decoy_scale: How far out a decoy's value is, in the same units, above 0.
    """

    alpha: float = 0.9
    least_noise: float = 0.05
    most_noise: float = 0.3
    indicator: float = 0.01
    decoy_scale: float = 10.0

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.COLLUDERS
    beside_params: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha must be above 0 and below 1, got {self.alpha}")
        if not (0 <= self.least_noise <= self.most_noise and isfinite(self.most_noise)):
            raise ValueError(
                "least_noise must be at least 0 and at most most_noise, which is finite, got "
                f"{self.least_noise} and {self.most_noise}"
            )
        for name in ("indicator", "decoy_scale"):
            if not (getattr(self, name) > 0 and isfinite(getattr(self, name))):
                raise ValueError(f"{name} must be finite and above 0, got {getattr(self, name)}")

    def init(self) -> dict[str, Any]:
        begun = {"round": -1, "indicators": [], "noise": self.least_noise, "decoys": 0, "noisy": False}
        return {"seen": no_broadcast(), **begun}

    def steer(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        return self.alpha * gradient + 2 * (1 - self.alpha) * (params - received)

    def corrupt(self, own: Updates, view: View, state: State) -> tuple[Updates, State]:
        move, seen = last_move(view, state["seen"])
        tuned = self._tuned(move, len(own), view, state)
        mean, _ = mean_and_std(own.vectors)
        length, decoys = float(mean.norm()), min(tuned["decoys"], len(own) - 1)
        quiet = mean.abs() if move is None else mean.abs() + move.double().abs()
        places = quiet.argsort(stable=True)[: 2 * len(own)]  # [2 k] at most
        rows = mean.repeat(len(own), 1)
        attackers = len(own) - decoys
        noise = torch.from_numpy(view.generator.standard_normal((attackers, len(mean))))
        noise = (noise - noise.mean(dim=0)) * tuned["noise"] * length / len(mean) ** 0.5
        rows[:attackers] += noise
        rows[attackers:] = 0.0 if move is None else move.double()
        rows[:, places] = 0.0
        indicators: list[Indicator] = []
        for row in range(min(len(own), len(places))):
            rows[row, places[row]] = self.indicator * max(length, 1e-12)
            value = float(rows[row, places[row]])
            indicators.append([int(places[row]), value, row >= attackers])
        for row in range(attackers, min(len(own), len(places) - len(own))):
            rows[row, places[len(own) + row]] = self.decoy_scale * length
        state = {**tuned, "seen": seen, "round": view.round, "indicators": indicators}
        return own.with_vectors(rows.to(own.vectors.dtype)), state

    def _tuned(self, move: Tensor | None, size: int, view: View, state: State) -> dict[str, Any]:
        """Return the memory after what the last round's indicators tell."""
        tuned = dict(state)
        if move is None or state["noisy"] or state["round"] != view.round - 1 or not state["indicators"]:
            return tuned
        answers = read(move, state["indicators"])
        if answers is None:
            return {**tuned, "noisy": True, "noise": self.least_noise, "decoys": 0}
        told = list(zip(answers, state["indicators"], strict=True))
        through = [a for a, (_, _, decoy) in told if not decoy and a != REJECTED]
        lost = sum(a == ACCEPTED for a, (_, _, decoy) in told if decoy)
        decoys = max(state["decoys"] - lost, 0) + (1 if not through and not lost else 0)
        if not through:
            tuned["noise"] = _between(self.least_noise, self.most_noise, view.generator)
        return {**tuned, "decoys": min(decoys, size - 1)}


def _between(low: float, high: float, rng: np.random.Generator) -> float:
    return float(low + (high - low) * rng.random())
