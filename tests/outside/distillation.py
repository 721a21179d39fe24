"""Distillation: clients keep their outputs near those of the model that they received."""

from dataclasses import dataclass
from typing import ClassVar

from torch.nn.functional import log_softmax


@dataclass(frozen=True)
class Distillation:
    """Add ``strength`` times the Kullback-Leibler divergence of the outputs from the received model's.

    Attributes:
        strength: What the divergence is multiplied by, at least 0. 0 is FedAvg.
        temperature: What logits are divided by, above 0.
    """

    strength: float = 1.0
    temperature: float = 2.0

    plain: ClassVar[bool] = True
    frozen_models: ClassVar[tuple[str, ...]] = ("received",)

    def __post_init__(self) -> None:
        if self.strength < 0 or self.temperature <= 0:
            raise ValueError("strength must be at least 0, temperature above 0")

    def schedule(self, training):
        return training

    def correct(self, gradient, params, received):
        return gradient

    def added_loss(self, local, frozen, targets):
        pupil, teacher = (
            log_softmax(one.outputs / self.temperature, dim=-1) for one in (local, frozen["received"])
        )
        return self.strength * (teacher.exp() * (teacher - pupil)).sum(dim=-1)
