"""Mean sign flipping: send the opposite of what the honest clients would agree on.

Source: Allen-Zhu, Ebrahimianghazani, Li, Alistarh. Byzantine-Resilient Non-Convex Stochastic Gradient
Descent. ICLR 2021. arXiv:2012.14368; on the mean as in ByzFL, arXiv:2505.24802
"""

from dataclasses import dataclass
from typing import ClassVar

from ...core.contracts import Knowledge, View
from ...core.updates import Updates
from .moments import known_honest, mean_and_std, send_all


@dataclass(frozen=True)
class MeanSignFlip:
    """Send minus the mean of the honest updates, from every malicious client."""

    knowledge: ClassVar[Knowledge] = Knowledge.OMNISCIENT

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        mean, _ = mean_and_std(known_honest(own, view))
        return send_all(own, -mean), state
