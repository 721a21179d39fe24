"""Model replacement: scale the update until the average becomes the attacker's model.

Source: Bagdasaryan, Veit, Hua, Estrin, Shmatikov. How To Backdoor Federated Learning. AISTATS 2020,
Section 3 (gamma = n / eta). arXiv:1807.00459
"""

from dataclasses import dataclass
from typing import ClassVar

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates
from .parts.replacement import boost, check_boost


@dataclass(frozen=True)
class ModelReplacement:
    """Send gamma times the update that the attacker trained.

    With a uniform mean and honest updates near 0, the new global model is the attackers' mean model. What
    that model does is up to the attack on data that this one follows (``update`` in a scenario).

    Attributes:
        scale: gamma, above 0. None takes K / (eta m) for a cohort of K with m attackers; with one attacker
            that is the paper's K / eta, more of them share it.
        server_lr: The server's step size on the aggregate (the paper's eta), above 0.
    """

    scale: float | None = None
    server_lr: float = 1.0

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.COLLUDERS

    def __post_init__(self) -> None:
        check_boost(self.scale, self.server_lr)

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        gamma = boost(own, view, self.scale, self.server_lr)
        return own.with_vectors(gamma * own.vectors), state
