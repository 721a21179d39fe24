"""EDEN: rotate at random until every tensor looks Gaussian, then quantise for a Gaussian.

Source: Vargaftik, Ben Basat, Portnoy, Mendelson, Ben-Itzhak, Mitzenmacher. EDEN: Communication-Efficient and
Robust Distributed Mean Estimation for Federated Learning. ICML 2022, Algorithm 1. arXiv:2108.08842. With 1
bit and the scale of least error it is DRIVE (NeurIPS 2021. arXiv:2105.08339).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import log, prod, sqrt
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import CodecContext, CodecStreams
from ...core.errors import FrameError
from ...core.frames import Record, RecordShape, one_a_tensor
from ...core.layout import Layout, Slot
from ...core.updates import Updates
from .parts import buckets
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
from .parts.rotated import Chunk, RotatedMismatch
from .parts.rotation import hadamard, random_signs


@dataclass(frozen=True)
class EDEN:
    """Send each rotated coordinate as one of 2^bits levels, and one scale a chunk.

    Whatever the tensor looks like, a chunk of a few thousand coordinates errs by D / (1 - D) times its
    squared length, where D is the distortion of the best quantiser of a Gaussian (0.363, 0.117, 0.0345 and
    0.0095 at 1 to 4 bits); by D with the scale of least error, which is biased. Averaged over K clients, the
    error falls as 1 / K: each client's rotation is its own. A rotation by Hadamard's matrix is no uniform
    one, so that the scale ``"unbiased"`` is so up to a few thousandths only, and chunks of a few hundred
    coordinates of which almost all are 0 do not look Gaussian.

    Attributes:
        bits: Bits a coordinate, between 1 and 4.
        scale: ``"unbiased"``, or ``"least_error"``.
        chunk: Coordinates that are rotated together, a power of two; the last chunk of a tensor is padded
            with zeros to the next power of two only.
    """

    codec_id: ClassVar[int] = 7

    bits: int = 2
    scale: Literal["unbiased", "least_error"] = "unbiased"
    chunk: int = 4096

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 4:
            raise ValueError(f"bits must be between 1 and 4, got {self.bits}")
        if self.chunk < 1 or self.chunk & (self.chunk - 1):
            raise ValueError(f"chunk must be a power of two, got {self.chunk}")

    @property
    def contractive(self) -> bool:
        """Whether the error is never longer than the update."""
        return self.scale == "least_error"

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return scales and codes for every client and tensor; draws nothing from private streams."""
        contexts = [streams.context(client) for client in updates.client_ids.tolist()]

        def records(i: int, slot: Slot, block: Array) -> list[Record]:
            finite, block = finite_rows(block)
            parts = [(np.zeros((len(block), 0), np.float32), np.zeros((len(block), 0), np.uint8))]
            parts += [
                self._quantised(part * np.stack([_signs(c, i, number, part.shape[-1]) for c in contexts]))
                for number, part in enumerate(self._parts(block))
            ]
            scales, codes = (np.concatenate(them, axis=1) for them in zip(*parts, strict=True))
            packed = as_bytes(buckets.with_bits(self.bits, pack_fixed(codes, self.bits)))
            bodies = with_scales(scales, finite & np.isfinite(scales).all(axis=1), packed)
            return [Record(i, FIXED, slot.size, body) for body in bodies]

        return by_tensor(updates, layout, records), None

    def _widths(self, numel: int) -> list[int]:
        """Return the sizes of a tensor's chunks: full ones, and what is left up to a power of two."""
        full, left = divmod(numel, self.chunk)
        return [self.chunk] * full + [1 << (left - 1).bit_length()] * (left > 0)

    def _parts(self, block: Array) -> list[Array]:
        """Return a block [K, n] in chunks, the last one padded with zeros.  # [K, width] each"""
        widths = self._widths(block.shape[1])
        padded = np.zeros((len(block), sum(widths)), dtype=np.float32)
        padded[:, : block.shape[1]] = block
        return np.split(padded, np.cumsum(widths)[:-1], axis=1) if widths else []

    def _quantised(self, signed: Array) -> tuple[Array, Array]:
        """Return the scales [K, 1] and codes uint8 [K, d] of chunks times their signs."""
        rotated = hadamard(signed)  # [K, d]
        norms = np.sqrt(np.square(rotated, dtype=np.float64).sum(axis=1, keepdims=True))
        unit = np.divide(rotated, norms, out=np.zeros(rotated.shape), where=norms > 0)
        levels = _levels(self.bits)
        codes = np.searchsorted((levels[1:] + levels[:-1]) / 2, unit * sqrt(rotated.shape[1]))  # [K, d]
        found = levels[codes]
        along = (unit * found).sum(axis=1, keepdims=True)  # [K, 1]
        if self.scale == "unbiased":
            size = np.divide(norms, along, out=np.zeros_like(norms), where=along > 0)
        else:
            size = norms * along / np.square(found).sum(axis=1, keepdims=True)
        return size.astype(np.float32), codes.astype(np.uint8)

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return the levels times their scale, rotated back.  # [P]

        Raises:
            FrameError: Another tag, number of bits or length, padding that is not zero, a scale that is not
                finite and at least 0, or a value that is not finite.
        """
        return from_tensors(records, layout, lambda record, numel: self._values(record, numel, context))

    def _values(self, record: Record, numel: int, context: CodecContext) -> Array:
        widths = self._widths(numel)
        scales, codes = self._read(record, widths)
        found = _levels(self.bits)[codes].astype(np.float32)
        parts = np.split(found, np.cumsum(widths)[:-1]) if widths else []
        with np.errstate(over="ignore", invalid="ignore"):
            values = [
                hadamard(part * scale) * _signs(context, record.tensor_id, number, len(part))
                for number, (part, scale) in enumerate(zip(parts, scales, strict=True))
            ]
        whole = np.concatenate([np.zeros(0, dtype=np.float32), *values])[:numel]
        if not np.isfinite(whole).all():
            raise FrameError(f"tensor {record.tensor_id}: a value is not finite")
        return whole

    def _read(self, record: Record, widths: Sequence[int]) -> tuple[Array, Array]:
        """Return the scales [chunks], and the codes of all chunks, uint8."""
        expect_tag(record, FIXED)
        scales = scales_of(record, len(widths))
        return scales, unpack_fixed(
            buckets.after_bits(record, len(widths), self.bits), sum(widths), self.bits
        )

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> RotatedMismatch:
        """Return how far rotated coordinates lie from the cells of their codes, of chunks of length 1."""
        chunks: list[Chunk] = []
        for slot, record in zip(layout.parameters, records, strict=True):
            widths = self._widths(slot.size)
            scales, codes = self._read(record, widths)
            starts = np.cumsum([0, *widths])[:-1].tolist()
            chunks += [
                self._chunk(
                    slot, start, codes[start : start + width], float(scale), context, (record, number)
                )
                for number, (start, width, scale) in enumerate(zip(starts, widths, scales, strict=True))
                if scale > 0
            ]
        return RotatedMismatch(tuple(chunks), self.scale == "unbiased")

    def _chunk(
        self,
        slot: Slot,
        start: int,
        codes: Array,
        scale: float,
        context: CodecContext,
        place: tuple[Record, int],
    ) -> Chunk:
        levels = _levels(self.bits)
        ends = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
        return Chunk(
            start=slot.start + start,
            size=min(len(codes), slot.size - start),
            signs=torch.from_numpy(_signs(context, place[0].tensor_id, place[1], len(codes))),
            levels=torch.from_numpy(levels[codes]).float(),
            low=torch.from_numpy(ends[:-1][codes]).float(),
            high=torch.from_numpy(ends[1:][codes]).float(),
            log_scale=log(scale),
        )

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        widths = self._widths(prod(shape))
        return 4 * len(widths) + 1 + -(-sum(widths) * self.bits // 8)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return the entropy of the codes, padding included, and 32 a scale."""
        found = (self._read(record, self._widths(record.numel)) for record in records)
        return sum(entropy(codes) + 32.0 * len(scales) for scales, codes in found)


def _signs(context: CodecContext, tensor_id: int, chunk: int, width: int) -> Array:
    return random_signs(context.stream(f"rotation of tensor {tensor_id}, chunk {chunk}"), width)


@cache
def _levels(bits: int) -> Array:
    """Return the levels of the quantiser of a Gaussian that errs least, ascending, float64.  # [2^bits]

    Source: Lloyd. Least Squares Quantization in PCM. IEEE Transactions on Information Theory 28(2), 1982.
    """
    from scipy.stats import norm

    levels = norm.ppf((np.arange(2**bits) + 0.5) / 2**bits)
    for _ in range(2000):
        ends = np.concatenate([[-np.inf], (levels[1:] + levels[:-1]) / 2, [np.inf]])
        levels = -np.diff(norm.pdf(ends)) / np.diff(norm.cdf(ends))
    found: Array = (levels - levels[::-1]) / 2
    return found
