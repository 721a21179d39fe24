"""Constrain and scale: train for the attack and for looking harmless at once, then boost.

Source: Bagdasaryan, Veit, Hua, Estrin, Shmatikov. How To Backdoor Federated Learning. AISTATS 2020,
Section 3 (constrain-and-scale, equation 4). arXiv:1807.00459
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates
from .parts.replacement import boost, check_boost


@dataclass(frozen=True)
class ConstrainAndScale:
    """Train on alpha CE + (1 - alpha) ||w - w_t||^2, then send gamma times the update.

    The anomaly term is the squared distance to the received model: the one that a rule on norms or
    distances sees. The loss itself comes from the examples of the attack on data that this one follows
    (``update`` in a scenario).

    Attributes:
        alpha: Weight of the loss, above 0 and at most 1. 1 is plain training, then boosted.
        scale: gamma, above 0. None takes K / (eta m) for a cohort of K with m attackers.
        server_lr: The server's step size on the aggregate (the paper's eta), above 0.
    """

    alpha: float = 0.5
    scale: float | None = None
    server_lr: float = 1.0

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.COLLUDERS

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha must be above 0 and at most 1, got {self.alpha}")
        check_boost(self.scale, self.server_lr)

    def init(self) -> None:
        return None

    def steer(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        return self.alpha * gradient + 2 * (1 - self.alpha) * (params - received)

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        gamma = boost(own, view, self.scale, self.server_lr)
        return own.with_vectors(gamma * own.vectors), state
