"""Sign flipping: send the opposite of the honest update.

Source: Li, Xu, Chen, Giannakis, Ling. RSA: Byzantine-Robust Stochastic Aggregation Methods for
Distributed Learning from Heterogeneous Datasets. AAAI 2019. arXiv:1811.03761
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates


@dataclass(frozen=True)
class SignFlip:
    """Send minus ``scale`` times the client's own honest update.

    Attributes:
        scale: How much longer the flipped update is, above 0.
    """

    scale: float = 1.0

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN

    def __post_init__(self) -> None:
        if not (self.scale > 0 and isfinite(self.scale)):
            raise ValueError(f"scale must be finite and above 0, got {self.scale}")

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        return own.with_vectors(-self.scale * own.vectors), state
