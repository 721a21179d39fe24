"""Gradient ascent: climb the loss at every local step.

Source: Blades (its ``SignFlip``), arXiv:2206.05359
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates


@dataclass(frozen=True)
class GradientAscent:
    """Train with minus the loss: the gradient is negated at every local step, before any weight decay.

    With one local step this is ``sign_flip``; with more the path bends, and the loss grows faster.
    """

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN

    def init(self) -> None:
        return None

    def steer(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        return -gradient

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        return own, state
