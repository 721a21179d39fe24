"""INT4: whole multiples of an interval that is chosen for the large coordinates.

Source: Ding et al. Toward INT4 Fixed-Point Training via Exploring Quantization Error for Gradients. 2024.
arXiv:2407.12637 (the abstract: what large gradients lose matters most; there the interval is gamma times
the largest size and gamma follows from a bound of that loss. The exact update was not read: ``"large"`` is a
search for the least such loss, ours; so is ``"minimax"``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from ...core.contracts import CodecContext, CodecStreams
from ...core.errors import FrameError
from ...core.frames import Record, RecordShape, one_a_tensor
from ...core.layout import Layout, Slot
from ...core.updates import Updates
from .parts import buckets, cells
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
    scales_of,
    unpack_fixed,
    with_scales,
)

GAMMAS = 0.9 ** np.arange(20)
"""What a search tries: from 1 down to 0.135."""
LARGE = 0.01
"""The share of a tensor's coordinates that counts as large."""


@dataclass(frozen=True)
class Int4:
    """Send round(clip(x / c, -1, 1) n), where n = 2^(bits - 1) - 1 and c is gamma times the largest size.

    Biased: what is beyond c is cut off, and what is below c / (2 n) becomes 0. It never loses more than the
    coordinate itself. A small c serves the many small coordinates, a large one the few large ones: of a
    million normal values in 4 bits the least squared error is at gamma 0.5, and the least relative error of
    the largest percent at 0.6.

    Attributes:
        bits: Between 2 and 8.
        interval: How gamma is chosen for each tensor: ``"large"``, the least mean error over the mean size of
            the largest percent; ``"mse"``, the least squared error; both of 20 values 0.9^i, i from 0.
            ``"minimax"``: (2^bits - 2) / (2^bits - 1), where cutting off the largest loses as much as
            rounding may; ``"max"``: 1.
    """

    codec_id: ClassVar[int] = 32
    contractive: ClassVar[bool] = True

    bits: int = 4
    interval: Literal["large", "mse", "minimax", "max"] = "large"

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits must be between 2 and 8, got {self.bits}")

    @property
    def _steps(self) -> int:
        """n: from 0 to the interval's end."""
        return (1 << (self.bits - 1)) - 1

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return an interval and ``bits`` bits an element for every client and tensor; draws nothing."""

        def records(i: int, slot: Slot, block: Array) -> list[Record]:
            finite, block = finite_rows(block)
            ends = self._ends(block)  # [K, 1]
            codes = (self._levels(block, ends) + self._steps).astype(np.uint8)
            packed = as_bytes(buckets.with_bits(self.bits, pack_fixed(codes, self.bits)))
            return [Record(i, FIXED, slot.size, body) for body in with_scales(ends, finite, packed)]

        return by_tensor(updates, layout, records), None

    def _levels(self, block: Array, ends: Array) -> Array:
        """Return whole numbers from -n to n, float32.  # [K, n]"""
        shares = np.divide(block, ends, out=np.zeros_like(block), where=ends > 0)
        np.clip(shares, -1, 1, out=shares)
        shares *= np.float32(self._steps)
        whole: Array = np.rint(shares, out=shares)
        return whole

    def _ends(self, block: Array) -> Array:
        """Return c of each row, float32.  # [K, 1]"""
        largest: Array = np.abs(block).max(axis=1, keepdims=True, initial=np.float32(0))
        if self.interval == "max" or not block.size:
            return largest
        if self.interval == "minimax":
            return np.multiply(largest, np.float32((2**self.bits - 2) / (2**self.bits - 1)))
        units = np.divide(block, largest, out=np.zeros_like(block), where=largest > 0)
        if self.interval == "large":
            count = max(1, round(LARGE * block.shape[1]))
            units = np.partition(np.abs(units), -count, axis=1)[:, -count:]
        tried = np.stack([self._loss(units, np.float32(gamma)) for gamma in GAMMAS])  # [G, K]
        largest = largest * GAMMAS[tried.argmin(axis=0)].astype(np.float32)[:, None]
        return largest

    def _loss(self, units: Array, gamma: np.float32) -> Array:
        """Return what each row loses under a gamma, up to a factor that no gamma changes.  # [K]"""
        lost = self._levels(units, np.full((len(units), 1), gamma)) * (gamma / self._steps) - units
        powers = np.abs(lost) if self.interval == "large" else np.square(lost)
        sums: Array = powers.sum(axis=1, dtype=np.float64)
        return sums

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return c code / n.  # [P]

        Raises:
            FrameError: Another tag, number of bits or length, a code beyond the levels, padding that is not
                zero, or an interval that is not finite and at least 0.
        """
        return from_tensors(records, layout, self._values)

    def _values(self, record: Record, numel: int) -> Array:
        levels, codes = self._read(record, numel)
        values: Array = levels[codes]
        return values

    def _read(self, record: Record, numel: int) -> tuple[Array, Array]:
        """Return the levels, ascending, float32 [2 n + 1], and the codes uint8 [numel]."""
        expect_tag(record, FIXED)
        (end,) = scales_of(record, 1)
        codes = unpack_fixed(buckets.after_bits(record, 1, self.bits), numel, self.bits)
        if numel and codes.max() > 2 * self._steps:
            raise FrameError(f"tensor {record.tensor_id}: code {codes.max()}, allowed 0 to {2 * self._steps}")
        places = np.arange(-self._steps, self._steps + 1)
        return (float(end) * places / self._steps).astype(np.float32), codes

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> CellMismatch:
        """Return the distance to the nearest update that is rounded to the same levels."""
        return cells.mismatch_of(records, layout, lambda *one: cells.midpoints(*self._read(*one)))

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        return 5 + -(-prod(shape) * self.bits // 8)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return the entropy of the codes, n H0, and 32 an interval."""
        return sum(entropy(self._read(record, record.numel)[1]) + 32.0 for record in records)
