"""DoReFa: every coordinate as one of 2^k evenly spaced levels, rounded at random.

Source: Zhou, Wu, Ni, Zhou, Wen, Zou. DoReFa-Net: Training Low Bitwidth Convolutional Neural Networks with Low
Bitwidth Gradients. 2016, Section 2.5 (there for gradients of activations, one scale an example).
arXiv:1606.06160
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
from .parts import buckets
from .parts.laws import LevelMismatch
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


@dataclass(frozen=True)
class DoReFa:
    """Send each coordinate as k bits: a level between -m and m, where m is the largest size of its bucket.

    Unbiased. Levels are D = 2 m / (2^k - 1) apart; a coordinate at a share f of the way between two has an
    expected squared error of D^2 f (1 - f). With an even number of levels none is 0, so that zeros become
    plus or minus m / (2^k - 1): bad on sparse updates, unless ``zero_preserving``.

    Attributes:
        bits: k, between 1 and 8.
        bucket_size: Coordinates that share a scale, at least 1, or None: those of a tensor.
        zero_preserving: Whether there is one level less, so that 0 is one; needs at least 2 bits.
    """

    codec_id: ClassVar[int] = 4
    unbiased: ClassVar[bool] = True

    bits: int = 4
    bucket_size: int | None = None
    zero_preserving: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise ValueError(f"bits must be between 1 and 8, got {self.bits}")
        if self.zero_preserving and self.bits == 1:
            raise ValueError("zero_preserving needs at least 2 bits, got 1")
        buckets.refuse_size(self.bucket_size)

    @property
    def _steps(self) -> int:
        """From the least level to the largest."""
        return (1 << self.bits) - 1 - self.zero_preserving

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return scales and k bits an element for every client and tensor; draws P uniforms a client."""
        generators = [streams(client) for client in updates.client_ids.tolist()]

        def records(i: int, slot: Slot, block: Array) -> list[Record]:
            uniforms = np.stack([g.random(slot.size, dtype=np.float32) for g in generators])
            finite, block = finite_rows(block)
            scales = buckets.largest_sizes(block, self.bucket_size)  # [K, buckets]
            codes = self._codes(block, buckets.spread(scales, slot.size, self.bucket_size), uniforms)
            packed = buckets.with_bits(self.bits, pack_fixed(codes, self.bits))
            bodies = with_scales(scales, finite, as_bytes(packed))
            return [Record(i, FIXED, slot.size, body) for body in bodies]

        return by_tensor(updates, layout, records), None

    def _codes(self, block: Array, scales: Array, uniforms: Array) -> Array:
        """Return the levels of a block, uint8.  # [K, n]"""
        shares = np.divide(block, 2 * scales.astype(np.float64), out=np.zeros(block.shape), where=scales > 0)
        levels = np.floor((shares + 0.5) * self._steps + uniforms)
        return np.clip(levels, 0, self._steps).astype(np.uint8)

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return 2 m (code / L - 1/2), where L is the number of steps between levels.  # [P]

        Raises:
            FrameError: Another tag, number of bits or length, a code beyond the levels, padding that is not
                zero, or a scale that is not finite and at least 0.
        """
        return from_tensors(records, layout, self._values)

    def _values(self, record: Record, numel: int) -> Array:
        scales, codes = self._read(record, numel)
        wide = buckets.spread(scales[None], numel, self.bucket_size)[0].astype(np.float64)
        values: Array = (wide * (2.0 * codes / self._steps - 1)).astype(np.float32)
        return values

    def _read(self, record: Record, numel: int) -> tuple[Array, Array]:
        """Return the scales, and the codes uint8 [numel]."""
        expect_tag(record, FIXED)
        count = buckets.count(numel, self.bucket_size)
        scales = scales_of(record, count)
        codes = unpack_fixed(buckets.after_bits(record, count, self.bits), numel, self.bits)
        if numel and codes.max() > self._steps:
            raise FrameError(f"tensor {record.tensor_id}: code {codes.max()}, allowed 0 to {self._steps}")
        return scales, codes

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> LevelMismatch:
        """Return the negative log-likelihood of the levels."""
        found = [self._read(record, record.numel) for record in records]
        levels = [torch.from_numpy(codes - np.float32(self._steps / 2)) for scales, codes in found]
        logs = tuple(torch.from_numpy(scales.copy()).log() for scales, _ in found)
        coded = [slot for slot in layout.parameters if slot.size]
        return LevelMismatch(
            slots=tuple(coded),
            levels=torch.cat(levels),
            log_scales=tuple(log for log, slot in zip(logs, layout.parameters, strict=True) if slot.size),
            bucket_size=self.bucket_size,
            steps=self._steps / 2,
            norm="max",
        )

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        numel = prod(shape)
        return 4 * buckets.count(numel, self.bucket_size) + 1 + -(-numel * self.bits // 8)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return the entropy of the levels, n H0, and 32 a scale."""
        found = (self._read(record, record.numel) for record in records)
        return sum(entropy(codes) + 32.0 * len(scales) for scales, codes in found)
