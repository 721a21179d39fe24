"""Additive noise: send the honest update with Gaussian noise on top.

Source: Gupta, Luo, Ngo, Das. Long-Short History of Gradients is All You Need: Detecting Malicious
and Unreliable Clients in Federated Learning. ESORICS 2022. arXiv:2208.10273
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import torch

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates


@dataclass(frozen=True)
class AdditiveNoise:
    """Add independent draws of N(0, ``std``^2) to every coordinate of the client's own update.

    Attributes:
        std: Standard deviation of the noise, in the update's units, above 0.
    """

    std: float = 0.01

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN

    def __post_init__(self) -> None:
        if not (self.std > 0 and isfinite(self.std)):
            raise ValueError(f"std must be finite and above 0, got {self.std}")

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        noise = view.generator.normal(0.0, self.std, tuple(own.vectors.shape))
        return own.with_vectors(own.vectors + torch.from_numpy(noise).to(own.vectors.dtype)), state
