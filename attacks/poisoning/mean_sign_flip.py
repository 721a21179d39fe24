"""Mean sign flipping: send the opposite of what the honest clients would agree on.

Source: Allen-Zhu, Ebrahimianghazani, Li, Alistarh. Byzantine-Resilient Non-Convex Stochastic Gradient
Descent. ICLR 2021. arXiv:2012.14368; on the mean as in ByzFL, arXiv:2505.24802
"""

from dataclasses import dataclass

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates
from .parts.moments import check_knowledge, known_honest, mean_and_std, send_all


@dataclass(frozen=True)
class MeanSignFlip:
    """Send minus the mean of the honest updates, from every malicious client.

    Attributes:
        knowledge: ``"omniscient"`` takes every honest update of the cohort for honest behaviour,
            ``"colluders"`` only what the attackers themselves would honestly have sent.
    """

    knowledge: UpdateKnowledge = UpdateKnowledge.OMNISCIENT

    def __post_init__(self) -> None:
        check_knowledge(self.knowledge)

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        mean, _ = mean_and_std(known_honest(own, view))
        return send_all(own, -mean), state
