"""Half precision: every coordinate as a 16-bit IEEE float.

Source: IEEE 754-2008, binary16; for messages of federated learning the baseline of every table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import CodecContext, CodecStreams
from ...core.errors import FrameError
from ...core.frames import Record, RecordShape, one_a_tensor
from ...core.layout import Layout, Slot
from ...core.updates import Updates
from .parts.mismatches import CellMismatch, half_cells
from .parts.packing import (
    Array,
    by_tensor,
    expect_length,
    pack_floats,
    pack_halves,
    unpack_floats,
    unpack_values,
)

DENSE_F16 = 0x01


@dataclass(frozen=True)
class Fp16:
    """Round every coordinate to the nearest half; sizes above 65504 are cut off there.

    A relative error of at most 2^-11 from 6.1e-5 on; below 3.0e-8 a coordinate becomes 0. A tensor that is
    not finite is sent with values that no decoder accepts.

    Attributes:
        scale: ``"none"``, or ``"max"``: each tensor is divided by its largest size first, which is sent with
            it in float32 (for updates that are small or huge).
    """

    codec_id: ClassVar[int] = 1
    contractive: ClassVar[bool] = True

    scale: Literal["none", "max"] = "none"

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return 2 bytes an element, and 4 a tensor where it is scaled; draws nothing."""

        def records(i: int, slot: Slot, block: Array) -> list[Record]:
            return [Record(i, DENSE_F16, slot.size, body) for body in self._bodies(block)]

        return by_tensor(updates, layout, records), None

    def _bodies(self, block: Array) -> list[bytes]:
        block = np.where(np.isfinite(block), block, np.float32(np.nan))
        if self.scale == "none":
            return [row.tobytes() for row in pack_halves(block)]
        scales = np.abs(block).max(axis=1, initial=np.float32(0))[:, None]  # [K, 1]
        block = np.divide(block, scales, out=np.zeros_like(block), where=scales != 0)
        heads = pack_floats(scales)
        return [h.tobytes() + row.tobytes() for h, row in zip(heads, pack_halves(block), strict=True)]

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return the halves as float32, times their scale.  # [P]

        Raises:
            FrameError: Another tag or length, a value or scale that is not finite, or a scale below 0.
        """
        vector = np.empty(layout.num_parameters, dtype=np.float32)
        for slot, record in zip(layout.parameters, records, strict=True):
            self._read(record, vector[slot.start : slot.start + slot.size])
        return torch.from_numpy(vector)

    def _read(self, record: Record, values: Array) -> None:
        """Write what a record says over float32 ``values`` [n], without a copy of them."""
        if record.tag != DENSE_F16:
            raise FrameError(f"tensor {record.tensor_id}: tag {record.tag:#04x}, allowed {DENSE_F16:#04x}")
        head = 4 if self.scale == "max" else 0
        expect_length(record.body, head + 2 * len(values))
        values[:] = np.frombuffer(record.body, "<f2", offset=head)
        with np.errstate(invalid="ignore"):
            total = values.sum()  # of halves none overflows: it is finite where they all are
        if not np.isfinite(total):
            raise FrameError("body: a value is not finite")
        if self.scale == "none":
            return
        scale = unpack_floats(record.body[:4], 1)[0]
        if not np.isfinite(scale) or np.signbit(scale) or bool((np.abs(values) > 1).any()):
            raise FrameError(f"tensor {record.tensor_id}: scale {scale}, or a value above it")
        values *= scale

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> CellMismatch:
        """Return the distance to the nearest update of which every coordinate is rounded to the same half."""
        below, above = torch.empty(layout.num_parameters), torch.empty(layout.num_parameters)
        for slot, record in zip(layout.parameters, records, strict=True):
            where, scaled = slice(slot.start, slot.start + slot.size), self.scale == "max"
            scale = float(unpack_floats(record.body[:4], 1)[0]) if scaled else 1.0
            low, high = half_cells(unpack_values(record.body[4 * scaled :], slot.size, "<f2"))
            below[where], above[where] = low * scale, high * scale
        return CellMismatch.of(self.decode(records, layout, context), below, above)

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        return 2 * prod(shape) + 4 * (self.scale == "max")

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return 16 bits an element, and 32 a scale."""
        return float(sum(16 * record.numel + 32 * (self.scale == "max") for record in records))
