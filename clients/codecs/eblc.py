"""Error-bounded lossy compression: no coordinate is off by more than a share of the range from 0.

Source: the role of SZ2 in FedSZ (Wilkins, Di, Calhoun, Li, Kim, Underwood, Mortier, Cappello. FedSZ:
Leveraging Error-Bounded Lossy Compression for Federated Learning Communications. 2023. arXiv:2312.13461): a
uniform quantiser and Huffman's code. SZ2's predictors are left out, so that sizes are not SZ2's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, prod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import CodecContext, CodecStreams
from ...core.errors import FrameError
from ...core.frames import Record, RecordShape, one_a_tensor
from ...core.layout import Layout, Slot
from ...core.updates import Updates
from .parts.huffman import ZLIB, max_huffman, pack_huffman, unpack_huffman
from .parts.mismatches import CellMismatch
from .parts.packing import (
    BYTES,
    Array,
    by_tensor,
    entropy,
    expect_tag,
    finite_rows,
    from_tensors,
    unpack_floats,
    with_scales,
)


@dataclass(frozen=True)
class EBLC:
    """Round each coordinate to a level, 2 ``bound`` of the tensor's range apart, and send the level's number.

    The range is that of the tensor and 0, and no coordinate is off by more than ``bound`` times it: of values
    far from 0 that is more than of their spread. Levels are counted from 0, so that zeros stay zeros.

    Attributes:
        bound: The relative bound on the error, between 0.004 and 0.5.
    """

    codec_id: ClassVar[int] = 17

    bound: float = 0.01

    def __post_init__(self) -> None:
        if not 0.004 <= self.bound <= 0.5:
            raise ValueError(f"bound must be between 0.004 and 0.5, got {self.bound}")

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return a step, the least level, and levels for every client and tensor; draws nothing."""

        def records(i: int, slot: Slot, block: Array) -> list[Record]:
            finite, block = finite_rows(block)
            steps, least, codes = self._levels(block)
            heads = np.stack([steps, least], axis=1)  # [K, 2]
            bodies = with_scales(heads, finite & np.isfinite(steps), pack_huffman(codes, BYTES))
            return [Record(i, ZLIB, slot.size, body) for body in bodies]

        return by_tensor(updates, layout, records), None

    def _levels(self, block: Array) -> tuple[Array, Array, Array]:
        """Return steps and least levels, float32 [K], and levels above the least, uint8 [K, n]."""
        wide = block.astype(np.float64)
        ranges = wide.max(axis=1, initial=0) - wide.min(axis=1, initial=0)  # of the tensor and 0  # [K]
        with np.errstate(over="ignore"):
            steps = (2 * self.bound * ranges).astype(np.float32)
        usable = np.where((steps > 0) & np.isfinite(steps), steps, 1).astype(np.float64)[:, None]
        levels = np.rint(np.where(steps[:, None] > 0, wide, 0) / usable)
        least = levels.min(axis=1, initial=0)
        return steps, least.astype(np.float32), np.clip(levels - least[:, None], 0, 255).astype(np.uint8)

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return levels times their step.  # [P]

        Raises:
            FrameError: Another tag or length, a step that is not finite and at least 0, a least level that is
                no whole number from -130 to 0, more levels than the bound allows, or a value that is not
                finite.
        """
        return from_tensors(records, layout, self._values)

    def _values(self, record: Record, numel: int) -> Array:
        step, least, codes = self._read(record, numel)
        with np.errstate(over="ignore"):
            values: Array = (codes.astype(np.float32) + least) * step
        if not np.isfinite(values).all():
            raise FrameError(f"tensor {record.tensor_id}: a value is not finite")
        return values

    def _read(self, record: Record, numel: int) -> tuple[np.float32, np.float32, Array]:
        """Return the step, the least level, and the levels above it, uint8 [numel]."""
        expect_tag(record, ZLIB)
        step, least = unpack_floats(record.body[:8], 2)
        most = floor(1 / (2 * self.bound)) + 2
        if not np.isfinite(step) or np.signbit(step) or not -most <= least <= 0 or least != np.rint(least):
            raise FrameError(f"tensor {record.tensor_id}: step {step} and least level {least}")
        codes = np.frombuffer(unpack_huffman(record.body[8:], BYTES, numel), np.uint8)
        if numel and codes.max() > most:
            raise FrameError(f"tensor {record.tensor_id}: {codes.max() + 1} levels, allowed {most + 1}")
        return step, least, codes

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> CellMismatch:
        """Return the distance to the nearest update of which all coordinates are rounded to these levels."""
        half = torch.empty(layout.num_parameters)
        for slot, record in zip(layout.parameters, records, strict=True):
            half[slot.start : slot.start + slot.size] = float(self._read(record, slot.size)[0]) / 2
        return CellMismatch.of(self.decode(records, layout, context), half, half)

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        return 8 + max_huffman(prod(shape))

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return the entropy of the levels, n H0, and 64 of step and least level."""
        return sum(entropy(self._read(record, record.numel)[2]) + 64.0 for record in records)
