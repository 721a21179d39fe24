"""Few bits: the levels that err least on each tensor's own values, found by dynamic programming.

Source: Novikov, Bershatsky, Gusak, Shonenkov, Dimitrov, Oseledets. Few-Bit Backward: Quantized Gradients of
Activation Functions for Memory Footprint Reduction. ICML 2023. arXiv:2202.00441. There the program finds
steps in the place of an activation's derivative, to save memory; here, levels for a message.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
from torch import Tensor

from ...core.contracts import CodecContext, CodecStreams
from ...core.errors import FrameError
from ...core.frames import Record, RecordShape, one_a_tensor
from ...core.layout import Layout, Slot
from ...core.updates import Updates
from .parts import cells
from .parts.codebooks import codebooks
from .parts.mismatches import CellMismatch
from .parts.packing import (
    FIXED,
    Array,
    as_bytes,
    by_tensor,
    entropy,
    expect_tag,
    finite_rows,
    from_tensors,
    pack_fixed,
    pack_floats,
    unpack_fixed,
    unpack_values,
)


@dataclass(frozen=True)
class FewBit:
    """Send 2^bits levels of each tensor's own in float32, and which of them is nearest to each coordinate.

    Biased: a coordinate becomes the mean of those that are near it. Of normal values 0.363, 0.117, 0.0345 and
    0.0096 of the squared length are lost at 1 to 4 bits, of Laplace ones 0.500, 0.176, 0.0543. No tensor
    loses more than its length. A tensor of fewer coordinates than levels is longer than in float32.

    Attributes:
        bits: Between 1 and 4.
        bins: Of the histogram that levels are found on, between 2^bits and 1024. Levels are best among those
            that part it; the time grows with its square.
    """

    codec_id: ClassVar[int] = 33
    contractive: ClassVar[bool] = True

    bits: int = 3
    bins: int = 512

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 4:
            raise ValueError(f"bits must be between 1 and 4, got {self.bits}")
        if not 1 << self.bits <= self.bins <= 1024:
            raise ValueError(f"bins must be between {1 << self.bits} and 1024, got {self.bins}")

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return levels and ``bits`` bits an element for every client and tensor; draws nothing."""

        def records(i: int, slot: Slot, block: Array) -> list[Record]:
            finite, block = finite_rows(block)
            levels = codebooks(block, 1 << self.bits, self.bins)  # [K, L]
            packed = as_bytes(pack_fixed(cells.nearest(block, levels), self.bits))
            heads = as_bytes(pack_floats(np.where(finite[:, None], levels, np.float32(np.nan))))
            bodies = (h + bytes([self.bits]) + body for h, body in zip(heads, packed, strict=True))
            return [Record(i, FIXED, slot.size, body) for body in bodies]

        return by_tensor(updates, layout, records), None

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return the level of each coordinate.  # [P]

        Raises:
            FrameError: Another tag, number of bits or length, padding that is not zero, or levels that are
                not finite and ascending.
        """
        return from_tensors(records, layout, self._values)

    def _values(self, record: Record, numel: int) -> Array:
        levels, codes = self._read(record, numel)
        values: Array = levels[codes]
        return values

    def _read(self, record: Record, numel: int) -> tuple[Array, Array]:
        """Return the levels, ascending, float32 [2^bits], and the codes uint8 [numel]."""
        expect_tag(record, FIXED)
        end = 4 << self.bits
        levels = unpack_values(record.body[:end], 1 << self.bits, "<f4")
        if (np.diff(levels) < 0).any():
            raise FrameError(f"tensor {record.tensor_id}: levels do not ascend")
        if record.body[end : end + 1] != bytes([self.bits]):
            came = record.body[end : end + 1].hex() or "missing"
            raise FrameError(f"tensor {record.tensor_id}: bits {came}, allowed {self.bits:02x}")
        return levels, unpack_fixed(record.body[end + 1 :], numel, self.bits)

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> CellMismatch:
        """Return the distance to the nearest update that has the same nearest levels."""
        return cells.mismatch_of(records, layout, lambda *one: cells.midpoints(*self._read(*one)))

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        return (4 << self.bits) + 1 + -(-prod(shape) * self.bits // 8)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return the entropy of the codes, n H0, and 32 a level."""
        found = (self._read(record, record.numel) for record in records)
        return sum(entropy(codes) + 32.0 * len(levels) for levels, codes in found)
