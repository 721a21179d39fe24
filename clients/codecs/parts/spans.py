"""How badly updates fit a frame that says of some tensors what their projection onto a span is.

Source: as ``mismatches``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from .mismatches import TINY, sizes_of

if TYPE_CHECKING:
    from ....core.layout import Slot


@dataclass(frozen=True, eq=False)
class SpanMismatch:
    """1 - cos between what was decoded and what the codec makes of an update with the frame's own spans.

    Attributes:
        decoded: What the frame decodes to, divided by its length, float32.  # [P]
        spans: By tensor of shape [n, ...], columns that are orthonormal in an honest frame [n, rank]; the
            others were sent as they are.
    """

    decoded: Tensor
    spans: Mapping[Slot, Tensor]

    scale_free: ClassVar[bool] = True

    @classmethod
    def of(cls, decoded: Tensor, spans: Mapping[Slot, Tensor]) -> SpanMismatch:
        """Return the mismatch of a frame that decodes to ``decoded`` [P], finite."""
        return cls((decoded.double() / (float(decoded.double().norm()) or 1.0)).float(), spans)

    def __call__(self, updates: Tensor) -> Tensor:
        updates = updates / sizes_of(updates)
        projected = updates.clone()
        for slot, span in self.spans.items():
            unit = span / span.norm().clamp(min=TINY) * span.shape[1] ** 0.5  # orthonormal stays as it is
            matrix = updates.narrow(-1, slot.start, slot.size).reshape(*updates.shape[:-1], len(span), -1)
            part = unit @ (unit.T @ matrix)
            projected = projected.slice_scatter(
                part.flatten(-2), dim=-1, start=slot.start, end=slot.start + slot.size
            )
        length = projected.square().sum(dim=-1).add(TINY).sqrt()
        along: Tensor = (projected * self.decoded).sum(dim=-1)
        return 1 - along / length
