"""Zero: send nothing at all, in the right shape.

Source: FedML (``zero`` mode of its Byzantine attack); it exercises every guard against a norm of 0.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates


@dataclass(frozen=True)
class Zero:
    """Send the zero update."""

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        return own.with_vectors(torch.zeros_like(own.vectors)), state
