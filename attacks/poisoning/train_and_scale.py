"""Train and scale: as long an update as the defense lets pass.

Source: Bagdasaryan, Veit, Hua, Estrin, Shmatikov. How To Backdoor Federated Learning. AISTATS 2020,
Section 3 (train-and-scale). arXiv:1807.00459
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import torch

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates


@dataclass(frozen=True)
class TrainAndScale:
    """Send the attacker's own update at the L2 norm ``norm_bound``. A zero update stays zero.

    Attributes:
        norm_bound: What the defense tolerates (the paper's S), in units of the update's L2 norm, above 0.
    """

    norm_bound: float

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN

    def __post_init__(self) -> None:
        if not (self.norm_bound > 0 and isfinite(self.norm_bound)):
            raise ValueError(f"norm_bound must be finite and above 0, got {self.norm_bound}")

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        norms = torch.linalg.vector_norm(own.vectors, dim=1, keepdim=True, dtype=torch.float64)  # [M, 1]
        factors = torch.where(norms > 0, self.norm_bound / norms, 1.0)
        return own.with_vectors(own.vectors * factors.to(own.vectors.dtype)), state
