"""Trit planes: groups of coordinates as two scales times two planes of -1, 0 and 1.

Source: PTQTP: Post-Training Quantization to Trit-Planes for Large Language Models. 2025 (abstract; there
weights of finished models).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
from torch import Tensor

from ...core.contracts import CodecContext, CodecStreams
from ...core.frames import Record, RecordShape, one_a_tensor
from ...core.layout import Layout, Slot
from ...core.updates import Updates
from .parts import buckets
from .parts.mismatches import CellMismatch
from .parts.packing import (
    BASE3,
    Array,
    as_bytes,
    by_tensor,
    entropy,
    expect_tag,
    finite_rows,
    from_tensors,
    pack_base3,
    scales_of,
    unpack_base3,
    with_scales,
)
from .parts.trits import cells_of, fitted


@dataclass(frozen=True)
class TritPlanes:
    """Send each group of coordinates as a1 t1 + a2 t2, with t1 and t2 of -1, 0 and 1.

    Scales and trits are found by turns: the best scales of given trits, then of each coordinate the nearest
    of the nine sums, until no trit changes; the error never rises. 2 log2(3) = 3.17 bits a coordinate (3.2 as
    they are packed), and 64 a group. Biased, and never longer than the update: for what the server sends, or
    behind error feedback. In groups of 128, 0.027 of the squared length of normal values is lost and 0.041 of
    Laplace ones.

    Attributes:
        group: Coordinates that share two scales, at least 1.
        turns: How often at most scales and trits are found, at least 1.
    """

    codec_id: ClassVar[int] = 34
    contractive: ClassVar[bool] = True

    group: int = 128
    turns: int = 50

    def __post_init__(self) -> None:
        for name in ("group", "turns"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return two scales a group and two trits an element for every client and tensor; draws nothing."""

        def records(i: int, slot: Slot, block: Array) -> list[Record]:
            finite, block = finite_rows(block)
            groups = buckets.in_buckets(block, self.group)  # [K, G, group]
            scales, trits = fitted(groups.reshape(-1, groups.shape[2]), self.turns)
            scales = scales.reshape(len(block), -1)  # [K, 2 G]
            trits = trits.reshape(2, len(block), -1)[:, :, : slot.size]
            bodies = with_scales(scales, finite, as_bytes(pack_base3(np.concatenate(trits, axis=1))))
            return [Record(i, BASE3, slot.size, body) for body in bodies]

        return by_tensor(updates, layout, records), None

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return a1 t1 + a2 t2.  # [P]

        Raises:
            FrameError: Another tag or length, a byte that no encoder makes, a scale that is not finite and at
                least 0, or a sum that is not finite.
        """
        return from_tensors(records, layout, self._values)

    def _values(self, record: Record, numel: int) -> Array:
        scales, trits = self._read(record, numel)
        wide = np.repeat(scales, min(self.group, max(numel, 1)), axis=0)[:numel]  # [n, 2]
        values: Array = np.clip((wide.astype(np.float64) * trits.T).sum(axis=1), -_LARGEST, _LARGEST)
        return values.astype(np.float32)

    def _read(self, record: Record, numel: int) -> tuple[Array, Array]:
        """Return the scales of each group [G, 2], and both planes, int8 [2, numel]."""
        expect_tag(record, BASE3)
        count = 2 * buckets.count(numel, self.group)
        scales = scales_of(record, count)
        return scales.reshape(-1, 2), unpack_base3(record.body[4 * count :], 2 * numel).reshape(2, numel)

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> CellMismatch:
        """Return the distance to the nearest update of which the same sums are nearest."""
        found = [self._read(record, record.numel) for record in records]
        below, above = cells_of([(scales, trits, self.group) for scales, trits in found])
        return CellMismatch.of(self.decode(records, layout, context), below, above)

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        numel = prod(shape)
        return 8 * buckets.count(numel, self.group) + -(-2 * numel // 5)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return the entropy of the trits of each plane, and 32 a scale."""
        found = (self._read(record, record.numel) for record in records)
        return sum(entropy(trits[0]) + entropy(trits[1]) + 32.0 * scales.size for scales, trits in found)


_LARGEST = float(np.finfo(np.float32).max)
