"""Gaussian attack: send noise instead of an update.

Source: Blanchard, El Mhamdi, Guerraoui, Stainer. Machine Learning with Adversaries: Byzantine
Tolerant Gradient Descent. NeurIPS 2017 (its Gaussian adversary). arXiv:1703.02757
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import torch

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates


@dataclass(frozen=True)
class Gaussian:
    """Send independent draws of N(``mean``, ``std``^2) in place of the client's update.

    Attributes:
        mean: Centre of every coordinate, in the update's units.
        std: Standard deviation of every coordinate, in the update's units, above 0.
    """

    mean: float = 0.0
    std: float = 1.0

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN

    def __post_init__(self) -> None:
        if not isfinite(self.mean):
            raise ValueError(f"mean must be finite, got {self.mean}")
        if not (self.std > 0 and isfinite(self.std)):
            raise ValueError(f"std must be finite and above 0, got {self.std}")

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        noise = view.generator.normal(self.mean, self.std, tuple(own.vectors.shape))
        return own.with_vectors(torch.from_numpy(noise).to(own.vectors.dtype)), state
