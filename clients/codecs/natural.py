"""Natural compression: every coordinate becomes a power of two at random, and one byte.

Source: Horvath, Ho, Horvath, Sahu, Canini, Richtarik. Natural Compression for Distributed Deep Learning. MSML
2022. arXiv:1905.10988. The byte and its range of exponents are those of GRACE (sands-lab/grace).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import CodecContext, CodecStreams
from ...core.errors import FrameError
from ...core.frames import Record, RecordShape, one_a_tensor
from ...core.layout import Layout, Slot
from ...core.updates import Updates
from .parts.mismatches import CellMismatch
from .parts.packing import BYTES, Array, by_tensor, entropy, expect_tag, from_tensors, unpack_fixed

LEAST, MOST = -108, 18  # exponents that a byte can say
_NOT_FINITE = 0x80  # "minus zero", which no decoder accepts


@dataclass(frozen=True)
class Natural:
    """Send sign and exponent: |x| between 2^e and 2^(e+1) goes up with probability (|x| - 2^e) / 2^e.

    Unbiased for sizes from 2^-108 to 2^18, with an error of at most 1/8 of the squared length in expectation;
    smaller ones become 0, and larger ones 2^18. One byte an element: bit 7 is the sign, the others e + 109, 0
    for zero. A tensor that is not finite is sent with a byte that no decoder accepts.
    """

    codec_id: ClassVar[int] = 6
    unbiased: ClassVar[bool] = True

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return one byte an element for every client and tensor; draws P uniforms a client."""
        generators = [streams(client) for client in updates.client_ids.tolist()]

        def records(i: int, slot: Slot, block: Array) -> list[Record]:
            uniforms = np.stack([g.random(slot.size, dtype=np.float32) for g in generators])
            return [Record(i, BYTES, slot.size, row.tobytes()) for row in _codes(block, uniforms)]

        return by_tensor(updates, layout, records), None

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return plus and minus powers of two, and zeros.  # [P]

        Raises:
            FrameError: Another tag or length, or a byte that says minus zero.
        """
        return from_tensors(records, layout, _values)

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> CellMismatch:
        """Return the distance to the nearest update of which each size is next to the power that was sent."""
        decoded = self.decode(records, layout, context)
        least = 2.0**LEAST
        below, above = decoded.abs() / 2, decoded.abs().clamp(min=least)
        flipped = decoded < 0
        return CellMismatch.of(
            decoded, torch.where(flipped, above, below), torch.where(flipped, below, above)
        )

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        return prod(shape)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return the entropy of the bytes, n H0."""
        return sum(entropy(np.frombuffer(record.body, np.uint8)) for record in records)


def _codes(block: Array, uniforms: Array) -> Array:
    """Return the bytes of a block [K, n], uint8."""
    finite = np.isfinite(block).all(axis=1, keepdims=True)  # [K, 1]
    mantissas, exponents = np.frexp(np.where(finite, block, np.float32(0)))  # x = m 2^e, 1/2 <= |m| < 1
    exponents = exponents - 1 + (uniforms < 2 * np.abs(mantissas) - 1)
    codes = np.minimum(exponents, MOST) - LEAST + 1
    codes = np.where((mantissas == 0) | (codes < 1), 0, codes)
    codes = np.where((mantissas < 0) & (codes > 0), codes + 128, codes)
    return np.where(finite, codes, _NOT_FINITE).astype(np.uint8)


def _values(record: Record, numel: int) -> Array:
    expect_tag(record, BYTES)
    codes = unpack_fixed(record.body, numel, 8)
    if bool((codes == _NOT_FINITE).any()):
        raise FrameError(f"tensor {record.tensor_id}: a byte says minus zero")
    values: Array = _POWERS[codes]
    return values


_SIZES = np.concatenate([[0.0], np.exp2(np.arange(LEAST, MOST + 1.0))])
_POWERS = np.concatenate([_SIZES, -_SIZES]).astype(np.float32)  # [256]
