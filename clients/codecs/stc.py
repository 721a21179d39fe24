"""Sparse ternary compression: the k largest coordinates, each as the mean size of all k with its sign.

Source: Sattler, Wiedemann, Mueller, Samek. Robust and Communication-Efficient Federated Learning from Non-IID
Data. IEEE TNNLS 2019, Algorithm 1. arXiv:1903.02891
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import lgamma, log, prod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import CodecContext, CodecStreams
from ...core.errors import FrameError
from ...core.frames import Record, RecordShape, one_a_tensor
from ...core.layout import Layout, Slot
from ...core.updates import Updates
from .parts.largest_mismatch import LargestMismatch
from .parts.packing import (
    Array,
    by_tensor,
    expect_tag,
    finite_rows,
    from_tensors,
    scales_of,
    with_scales,
)
from .parts.rice import RICE_SIGNS, max_rice, pack_rice, unpack_rice
from .parts.selection import largest


@dataclass(frozen=True)
class STC:
    """Send positions and signs of a tensor's largest coordinates, and the mean of their sizes.

    Of n elements k = max(1, round(density n)) are kept; of equal ones those of the lowest position; one that
    is 0 is not sent. Biased: put error feedback around it, as the paper does on both ways.

    Attributes:
        density: The share of each tensor that is sent, above 0 and at most 1.
    """

    codec_id: ClassVar[int] = 10
    contractive: ClassVar[bool] = True

    density: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.density <= 1:
            raise ValueError(f"density must be above 0 and at most 1, got {self.density}")

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return a mean size, positions and signs for every client and tensor; draws nothing."""

        def records(i: int, slot: Slot, block: Array) -> list[Record]:
            finite, block = finite_rows(block)
            means, codes = self._ternary(block)
            bodies = with_scales(means, finite, map(pack_rice, codes))
            return [Record(i, RICE_SIGNS, slot.size, body) for body in bodies]

        return by_tensor(updates, layout, records), None

    def _ternary(self, block: Array) -> tuple[Array, Array]:
        """Return the mean kept sizes, float32 [K, 1], and codes -1, 0, 1, int8 [K, n]."""
        places = largest(block, self._count(block.shape[1]))  # [K, k]
        kept = np.take_along_axis(block, places, axis=1)
        sizes = np.abs(kept.astype(np.float64))
        means = sizes.sum(axis=1, keepdims=True) / np.maximum((sizes > 0).sum(axis=1, keepdims=True), 1)
        codes = np.zeros(block.shape, dtype=np.int8)
        np.put_along_axis(codes, places, np.sign(kept).astype(np.int8), axis=1)
        return means.astype(np.float32), codes

    def _count(self, numel: int) -> int:
        return min(numel, max(1, round(self.density * numel)))

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return plus and minus the mean size, and zeros elsewhere.  # [P]

        Raises:
            FrameError: Another tag, more than k positions, a body that no encoder makes, or a mean size that
                is not finite and at least 0.
        """
        return from_tensors(records, layout, self._values)

    def _values(self, record: Record, numel: int) -> Array:
        codes = self._codes(record, numel)
        values: Array = codes * scales_of(record, 1)[0]
        return values

    def _codes(self, record: Record, numel: int) -> Array:
        expect_tag(record, RICE_SIGNS)
        codes = unpack_rice(record.body[4:], numel)
        if np.count_nonzero(codes) > self._count(numel):
            came = np.count_nonzero(codes)
            raise FrameError(f"tensor {record.tensor_id}: {came} positions, allowed {self._count(numel)}")
        return codes

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> LargestMismatch:
        """Return how far from these the largest coordinates and their signs are, tensor by tensor."""
        decoded, means = self.decode(records, layout, context), dict[Slot, float]()
        for slot, record in zip(layout.parameters, records, strict=True):
            if bool(decoded[slot.start : slot.start + slot.size].any()):
                means[slot] = float(scales_of(record, 1)[0])
        logs = torch.tensor(list(means.values()), dtype=torch.float64).log().float()
        return LargestMismatch(tuple(means), decoded.sign(), logs)

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        return 4 + max_rice(prod(shape))

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return log2 of the number of supports of k among n, one bit a sign, and 32 of mean size."""
        return sum(map(self._ideal_bits, records))

    def _ideal_bits(self, record: Record) -> float:
        n = record.numel
        k = int(np.count_nonzero(self._codes(record, n)))
        return (lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)) / log(2) + k + 32
