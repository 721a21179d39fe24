"""Non-finite attack: send what no average survives.

Source: ByzFL (the ``Inf`` attack), arXiv:2505.24802. A server must drop such an update before any
defense sees it.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from ...core.contracts import UpdateKnowledge, View
from ...core.updates import Updates

VALUES = ("nan", "inf", "-inf")


@dataclass(frozen=True)
class NonFinite:
    """Send ``value`` in every coordinate.

    Attributes:
        value: ``"nan"``, ``"inf"`` or ``"-inf"``.
    """

    value: Literal["nan", "inf", "-inf"] = "nan"

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OWN
    refused: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.value not in VALUES:
            raise ValueError(f"value must be one of {', '.join(VALUES)}, got '{self.value}'")

    def init(self) -> None:
        return None

    def corrupt(self, own: Updates, view: View, state: None) -> tuple[Updates, None]:
        return own.with_vectors(torch.full_like(own.vectors, float(self.value))), state
