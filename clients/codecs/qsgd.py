"""QSGD: every coordinate as a random multiple of its bucket's norm over s.

Source: Alistarh, Grubic, Li, Tomioka, Vojnovic. QSGD: Communication-Efficient SGD via Gradient Quantization
and Encoding. NeurIPS 2017, Section 3. arXiv:1610.02132. Of local steps' updates: Reisizadeh, Mokhtari,
Hassani, Jadbabaie, Pedarsani. FedPAQ. AISTATS 2020. arXiv:1909.13014
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
from .parts import buckets
from .parts.blocks import pack_levels, unpack_levels
from .parts.huffman import ZLIB, max_huffman
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
from .parts.rans import RANS, max_rans, pack_rans, unpack_rans

_WORTH_IT = 16_384  # elements: below, rANS takes milliseconds a client to save a few bytes
_GOOD_ENOUGH = 1.03  # bits of a Huffman code over the entropy: above it, auto tries rANS


@dataclass(frozen=True)
class QSGD:
    """Send each coordinate as a level from -s to s, in units of its bucket's norm over s, rounded at random.

    Unbiased. With the L2 norm and buckets of d its error is at most min(d / s^2, sqrt(d) / s) times the
    squared length, in expectation; the largest size as norm errs by at most d / (4 s^2). Whole tensors
    (``bucket_size = None``) of many coordinates need a large s.

    Attributes:
        levels: s, between 1 and 127.
        bucket_size: Coordinates that share a norm, at least 1, or None: those of a tensor.
        norm: ``"l2"`` (the paper's), or ``"max"``, the largest size of the bucket.
        pack: ``"fixed"`` (as many bits an element as 2 s + 1 levels need), ``"huffman"`` (of two to five
            levels together where none is above 7), ``"rans"``, or ``"auto"``: the smaller of fixed and
            huffman, and where that takes more than 1.03 times the levels' entropy, in tensors of 16,384
            elements and more, of rans too.
    """

    codec_id: ClassVar[int] = 5
    unbiased: ClassVar[bool] = True

    levels: int = 15
    bucket_size: int | None = 512
    norm: Literal["l2", "max"] = "l2"
    pack: Literal["fixed", "huffman", "rans", "auto"] = "auto"

    def __post_init__(self) -> None:
        if not 1 <= self.levels <= 127:
            raise ValueError(f"levels must be between 1 and 127, got {self.levels}")
        buckets.refuse_size(self.bucket_size)

    @property
    def _bits(self) -> int:
        return (2 * self.levels).bit_length()

    @property
    def _tags(self) -> tuple[int, ...]:
        one = {"fixed": (FIXED,), "huffman": (ZLIB,), "rans": (RANS,)}
        return one.get(self.pack, (FIXED, ZLIB, RANS))

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return norms and levels for every client and tensor; draws P uniforms a client."""
        generators = [streams(client) for client in updates.client_ids.tolist()]
        norms_of = buckets.lengths if self.norm == "l2" else buckets.largest_sizes

        def records(i: int, slot: Slot, block: Array) -> list[Record]:
            uniforms = np.stack([g.random(slot.size, dtype=np.float32) for g in generators])
            finite, block = finite_rows(block)
            norms = norms_of(block, self.bucket_size)  # [K, buckets]
            finite = finite & np.isfinite(norms).all(axis=1)
            codes = self._codes(block, buckets.spread(norms, slot.size, self.bucket_size), uniforms)
            packed = self._packed(codes)  # [K]
            bodies = with_scales(norms, finite, [body for _, body in packed])
            tagged = zip(packed, bodies, strict=True)
            return [Record(i, tag, slot.size, body) for (tag, _), body in tagged]

        return by_tensor(updates, layout, records), None

    def _codes(self, block: Array, norms: Array, uniforms: Array) -> Array:
        """Return levels + s of a block, uint8.  # [K, n]"""
        shares = np.divide(np.abs(block), norms, out=np.zeros_like(block), where=norms > 0)
        levels = np.minimum(np.floor(shares * np.float32(self.levels) + uniforms), self.levels)
        return (np.where(block < 0, -levels, levels) + self.levels).astype(np.uint8)

    def _packed(self, codes: Array) -> list[tuple[int, bytes]]:
        """Return (tag, what stands behind the norms) for each of K clients."""
        forms = {
            FIXED: lambda: self._fixed(codes),
            ZLIB: lambda: [pack_levels(row, self.levels) for row in codes],
            RANS: lambda: [self._rans(row) for row in codes],
        }
        if self.pack == "auto":
            return [self._smallest(row) for row in codes]
        (tag,) = self._tags
        return [(tag, body) for body in forms[tag]()]

    def _smallest(self, codes: Array) -> tuple[int, bytes]:
        """Return the smallest form of one client's codes; rANS is tried where the others are far too long."""
        best = ZLIB, pack_levels(codes, self.levels)
        if self._fixed_length(len(codes)) <= len(best[1]):
            best = FIXED, self._fixed(codes[None])[0]
        if len(codes) < _WORTH_IT or 8 * len(best[1]) <= _GOOD_ENOUGH * entropy(codes):
            return best
        return min(best, (RANS, self._rans(codes)), key=lambda form: len(form[1]))

    def _fixed(self, codes: Array) -> list[bytes]:
        return as_bytes(buckets.with_bits(self._bits, pack_fixed(codes, self._bits)))

    def _fixed_length(self, numel: int) -> int:
        return 1 + -(-numel * self._bits // 8)

    def _rans(self, codes: Array) -> bytes:
        return pack_rans(codes, 2 * self.levels + 1)

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return level * norm / s.  # [P]

        Raises:
            FrameError: A tag that these options do not give, a body that no encoder makes, a level beyond s,
                or a norm that is not finite and at least 0, or so large that its levels are not finite.
        """
        return from_tensors(records, layout, self._values)

    def _values(self, record: Record, numel: int) -> Array:
        norms, levels = self._read(record, numel)
        wide = buckets.spread(norms[None], numel, self.bucket_size)[0]
        with np.errstate(over="ignore"):
            values: Array = levels * (wide / np.float32(self.levels))
        if not np.isfinite(values).all():
            raise FrameError(f"qsgd body: a norm of {norms.max():g} times a level is beyond float32")
        return values

    def _read(self, record: Record, numel: int) -> tuple[Array, Array]:
        """Return the norms, and the levels float32 [numel]."""
        norms, codes = self._unpacked(record, numel)
        return norms, codes.astype(np.float32) - self.levels

    def _unpacked(self, record: Record, numel: int) -> tuple[Array, Array]:
        """Return the norms, and the levels + s, uint8 [numel]."""
        expect_tag(record, *self._tags)
        count = buckets.count(numel, self.bucket_size)
        norms = scales_of(record, count)
        body = record.body[4 * count :]
        if record.tag == ZLIB:
            codes = unpack_levels(body, numel, self.levels)
        elif record.tag == RANS:
            codes = unpack_rans(body, numel, 2 * self.levels + 1)
        else:
            codes = unpack_fixed(buckets.after_bits(record, count, self._bits), numel, self._bits)
        if numel and codes.max() > 2 * self.levels:
            raise FrameError(f"tensor {record.tensor_id}: code {codes.max()}, allowed to {2 * self.levels}")
        return norms, codes

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> LevelMismatch:
        """Return the negative log-likelihood of the levels."""
        found = [self._read(record, record.numel) for record in records]
        levels = [torch.from_numpy(levels) for scales, levels in found]
        logs = tuple(torch.from_numpy(scales.copy()).log() for scales, _ in found)
        coded = [slot for slot in layout.parameters if slot.size]
        return LevelMismatch(
            slots=tuple(coded),
            levels=torch.cat(levels),
            log_scales=tuple(log for log, slot in zip(logs, layout.parameters, strict=True) if slot.size),
            bucket_size=self.bucket_size,
            steps=self.levels,
            norm=self.norm,
        )

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        numel = prod(shape)
        lengths = {
            FIXED: self._fixed_length(numel),
            ZLIB: max_huffman(numel),
            RANS: max_rans(numel, 2 * self.levels + 1),
        }
        return 4 * buckets.count(numel, self.bucket_size) + max(lengths[tag] for tag in self._tags)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return the entropy of the levels, n H0, and 32 a norm."""
        found = (self._unpacked(record, record.numel) for record in records)
        least = np.uint8(self.levels)
        return sum(entropy((codes - least).astype(np.int8)) + 32.0 * len(norms) for norms, codes in found)
