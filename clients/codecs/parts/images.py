"""How badly updates fit a frame of a codec that is a public linear map.

Source: as ``mismatches``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .mismatches import TINY, sizes_of


@dataclass(frozen=True, eq=False)
class ImageMismatch:
    """1 - cos between what was decoded and what the codec makes of an update: 0 of the update itself.

    Attributes:
        decoded: What the frame decodes to, divided by its length, float32.  # [P]
        image: The map of updates [..., P], linear.
    """

    decoded: Tensor
    image: Callable[[Tensor], Tensor]

    scale_free: ClassVar[bool] = True

    @classmethod
    def of(cls, decoded: Tensor, image: Callable[[Tensor], Tensor]) -> ImageMismatch:
        """Return the mismatch of a frame that decodes to ``decoded`` [P], finite."""
        wide = decoded.double()
        return cls((wide / (float(wide.norm()) or 1.0)).float(), image)

    def __call__(self, updates: Tensor) -> Tensor:
        seen = self.image(updates / sizes_of(updates))
        length = seen.square().sum(dim=-1).add(TINY).sqrt()
        along: Tensor = (seen * self.decoded).sum(dim=-1)
        return 1 - along / length
