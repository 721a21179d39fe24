"""Power: even steps of |x|^a, so that small coordinates get finer levels than large ones.

Source: Yvinec, Dapogny, Bailly. NUPES: Non-Uniform Post-Training Quantization via Power Exponent Search.
2023. arXiv:2308.05600 (abstract; there weights of finished models, and the exponent is learnt). How bits are
spread over tensors: ``parts.bit_plan``.
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
from .parts.bit_plan import bit_plan, whole_bits
from .parts.mismatches import CellMismatch
from .parts.packing import (
    FIXED,
    Array,
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

EXPONENTS = (1.0, 0.75, 0.5, 0.35)
"""What ``exponent = None`` tries; a body says which by its place."""
_PLANNED = np.array([0, 2, 3, 4, 5, 6, 7, 8])  # bits; with 1 there is no level but 0


@dataclass(frozen=True)
class Power:
    """Send round(sign(x) |x / m|^a n), where m is the largest size of a tensor and n = 2^(bits - 1) - 1.

    a = 1 is a uniform quantiser. Biased; for what the server sends, or behind error feedback. Of a million
    normal values in 4 bits 0.028, 0.020 and 0.022 of the squared length are lost with a = 1, 0.75 and 0.5, of
    Laplace ones 0.118, 0.057 and 0.042.

    Attributes:
        bits: Bits a coordinate, between 2 and 8.
        exponent: a, one of 1, 0.75, 0.5 and 0.35; None: for each tensor the one that errs least.
        plan: Whether ``bits`` is the mean over the message, and a tensor gets 0 or 2 to 8 bits by its
            variance, as reverse water-filling has it. A tensor of 0 bits comes back as zeros.
    """

    codec_id: ClassVar[int] = 35

    bits: int = 4
    exponent: float | None = None
    plan: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits must be between 2 and 8, got {self.bits}")
        if self.exponent is not None and self.exponent not in EXPONENTS:
            raise ValueError(f"exponent must be one of {', '.join(map(str, EXPONENTS))}, got {self.exponent}")

    @property
    def contractive(self) -> bool:
        """Whether the error is never longer than the update: where a = 1 is among what is tried."""
        return self.exponent in (None, 1)

    @property
    def _places(self) -> tuple[int, ...]:
        """Which exponents are tried."""
        return tuple(range(len(EXPONENTS))) if self.exponent is None else (EXPONENTS.index(self.exponent),)

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return a scale, exponent, bits and codes for every client and tensor; draws nothing."""
        bits = self._bits(updates, layout)  # [K, T]

        def records(i: int, slot: Slot, block: Array) -> list[Record]:
            finite, block = finite_rows(block)
            scales = np.abs(block).max(axis=1, keepdims=True, initial=np.float32(0))  # [K, 1]
            tails = [b""] * len(block)
            for own in np.unique(bits[:, i]).tolist():
                rows = np.flatnonzero(bits[:, i] == own)
                for row, tail in zip(rows.tolist(), self._coded(block[rows], scales[rows], own), strict=True):
                    tails[row] = tail
            return [Record(i, FIXED, slot.size, body) for body in with_scales(scales, finite, tails)]

        return by_tensor(updates, layout, records), None

    def _bits(self, updates: Updates, layout: Layout) -> Array:
        """Return the bits of each client's tensors.  # [K, T]"""
        slots = layout.parameters
        if not self.plan:
            return np.full((len(updates), len(slots)), self.bits)
        vectors = updates.vectors.detach().cpu().numpy()
        _, vectors = finite_rows(vectors)
        size = np.abs(vectors).max(axis=1, keepdims=True, initial=np.float32(0)).astype(np.float64)
        parts = [vectors[:, s.start : s.start + s.size] / np.maximum(size, 1e-300) for s in slots]
        sums = np.stack([np.square(part).sum(axis=1) for part in parts], axis=1)  # [K, T]
        sizes = np.array([slot.size for slot in slots])
        variances = sums / np.maximum(sizes, 1)
        found = bit_plan(variances, sizes, self.bits)
        return whole_bits(found, variances, sizes, self.bits, _PLANNED)

    def _coded(self, block: Array, scales: Array, bits: int) -> list[bytes]:
        """Return (exponent, bits, codes) of rows that all get the same number of bits."""
        if not bits:
            return [bytes([self._places[0], 0])] * len(block)
        steps = np.float32((1 << (bits - 1)) - 1)
        units = np.divide(block, scales, out=np.zeros_like(block), where=scales > 0)
        best, least = np.zeros(block.shape, np.uint8), np.full(len(block), np.inf)
        chosen = np.full(len(block), self._places[0], np.uint8)
        for place in self._places:
            sizes = np.rint(np.abs(units) ** np.float32(EXPONENTS[place]) * steps)
            codes = (np.copysign(sizes, units) + steps).astype(np.uint8)
            values = _levels(EXPONENTS[place], bits)[codes]
            lost = np.square(values - units).sum(axis=1, dtype=np.float64)  # [K]
            better = lost < least
            best[better], chosen[better] = codes[better], place
            least = np.minimum(least, lost)
        packed = pack_fixed(best, bits)
        return [bytes([place, bits]) + row.tobytes() for place, row in zip(chosen, packed, strict=True)]

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return m sign(code) |code / n|^(1 / a).  # [P]

        Raises:
            FrameError: Another tag, exponent, number of bits or length, a code beyond the levels, padding
                that is not zero, or a scale that is not finite and at least 0.
        """
        return from_tensors(records, layout, self._values)

    def _values(self, record: Record, numel: int) -> Array:
        levels, codes = self._read(record, numel)
        values: Array = levels[codes]
        return values

    def _read(self, record: Record, numel: int) -> tuple[Array, Array]:
        """Return the levels, ascending, float32, and the codes uint8 [numel]."""
        place, bits = self._head(record)
        (scale,) = scales_of(record, 1)
        if not bits:
            if len(record.body) != 6:
                raise FrameError(f"tensor {record.tensor_id}: {len(record.body)} bytes of 0 bits, expected 6")
            return np.zeros(1, np.float32), np.zeros(numel, np.uint8)
        codes = unpack_fixed(record.body[6:], numel, bits)
        levels = scale * _levels(EXPONENTS[place], bits)
        if numel and codes.max() >= len(levels):
            raise FrameError(f"tensor {record.tensor_id}: code {codes.max()}, allowed 0 to {len(levels) - 1}")
        return levels, codes

    def _head(self, record: Record) -> tuple[int, int]:
        """Return the place of the exponent, and the bits."""
        expect_tag(record, FIXED)
        head = record.body[4:6]
        allowed = _PLANNED.tolist() if self.plan else [self.bits]
        if len(head) < 2 or head[0] not in self._places or head[1] not in allowed:
            came = head.hex() or "missing"
            raise FrameError(f"tensor {record.tensor_id}: exponent and bits {came}, not of these options")
        return head[0], head[1]

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> CellMismatch:
        """Return the distance to the nearest update that is rounded to the same levels."""
        return cells.mismatch_of(records, layout, self._cells)

    def _cells(self, record: Record, numel: int) -> tuple[Array, Array, Array]:
        """Return levels, the edges of what is rounded to each, and codes."""
        place, bits = self._head(record)
        levels, codes = self._read(record, numel)
        edges = np.array([-1.0, 1.0]) if not bits else _edges(EXPONENTS[place], bits)
        return levels, edges * float(scales_of(record, 1)[0]), codes

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        return 6 + -(-prod(shape) * (8 if self.plan else self.bits) // 8)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return the entropy of the codes, n H0, and 32 a scale."""
        return sum(entropy(self._read(record, record.numel)[1]) + 32.0 for record in records)


def _levels(exponent: float, bits: int) -> Array:
    """Return what codes stand for in units of the largest size, ascending, float32.  # [2^bits - 1]"""
    return _inverse(np.arange(1 - 2 ** (bits - 1), 2 ** (bits - 1)), exponent, bits).astype(np.float32)


def _edges(exponent: float, bits: int) -> Array:
    """Return the least and largest values of each code, in units of the largest size.  # [2^bits]"""
    inner = np.arange(1 - 2 ** (bits - 1), 2 ** (bits - 1) - 1) + 0.5
    return np.concatenate([[-1.0], _inverse(inner, exponent, bits), [1.0]])


def _inverse(places: Array, exponent: float, bits: int) -> Array:
    """Return sign(place) |place / n|^(1 / a)."""
    found: Array = np.copysign(np.abs(places / (2 ** (bits - 1) - 1)) ** (1 / exponent), places)
    return found
