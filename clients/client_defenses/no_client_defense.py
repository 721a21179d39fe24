"""No client defense: a client lets out what it trained.

Source: none; the neutral member of the family.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...core.contracts import BlockVisit


@dataclass(frozen=True)
class NoClientDefense:
    """Change nothing."""

    passive: ClassVar[bool] = True
    looks_at_examples: ClassVar[bool] = False

    def change(self, update: Tensor, visit: BlockVisit) -> Tensor:
        return update
