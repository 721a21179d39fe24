"""Inner-product manipulation: turn the aggregate away from the honest direction.

Source: Xie, Koyejo, Gupta. Fall of Empires: Breaking Byzantine-tolerant SGD by Inner Product
Manipulation. UAI 2019. arXiv:1903.03936
"""

from dataclasses import dataclass
from math import isfinite

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates
from .parts.moments import check_knowledge, known_honest, mean_and_std, send_all


@dataclass(frozen=True)
class InnerProductManipulation:
    """Send minus ``tau`` times the mean of the honest updates, from every malicious client.

    Attributes:
        tau: The paper's epsilon, above 0. A small one hides among the honest updates and fools
            distance rules; a mean turns round once tau is above honest over malicious clients.
        knowledge: ``"omniscient"`` takes every honest update of the cohort for honest behaviour,
            ``"colluders"`` only what the attackers themselves would honestly have sent.
    """

    tau: float = 0.1
    knowledge: UpdateKnowledge = UpdateKnowledge.OMNISCIENT

    def __post_init__(self) -> None:
        check_knowledge(self.knowledge)
        if not (self.tau > 0 and isfinite(self.tau)):
            raise ValueError(f"tau must be finite and above 0, got {self.tau}")

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        mean, _ = mean_and_std(known_honest(own, view))
        return send_all(own, -self.tau * mean), state
