"""Signs: one bit a coordinate, and one or two scales a tensor.

Source: Bernstein, Wang, Azizzadenesheli, Anandkumar. signSGD: Compressed Optimisation for Non-Convex
Problems. ICML 2018. arXiv:1802.04434 (``"one"``); Karimireddy, Rebjock, Stich, Jaggi. Error Feedback Fixes
SignSGD. ICML 2019. arXiv:1901.09847 (``"l1"``); Seide, Fu, Droppo, Li, Yu. 1-Bit Stochastic Gradient Descent.
Interspeech 2014 (``"two_means"``); the code of 1-bit Adam (Tang et al. ICML 2021. arXiv:2102.02888;
``"l2"``).
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
from .parts.laws import SignMismatch
from .parts.packing import (
    SIGNS,
    Array,
    as_bytes,
    by_tensor,
    expect_tag,
    finite_rows,
    from_tensors,
    scales_of,
    unpack_fixed,
    with_scales,
)


@dataclass(frozen=True)
class Sign:
    """Send the sign of every coordinate, and how large the tensor's coordinates are on the whole.

    Biased: signs cannot say 0, and what is small is sent as large as the rest. Put error feedback around it
    where the scale is ``"l1"`` or ``"two_means"``. A tensor of zeros comes back as zeros; a coordinate that
    is 0 counts as positive.

    Attributes:
        scale: What a sign is multiplied by: the mean size (``"l1"``, the least error of one scale), the root
            mean square (``"l2"``), 1 (``"one"``, plain signSGD: the server's step size is the scale), or one
            mean size of the negative coordinates and one of the others (``"two_means"``).
    """

    codec_id: ClassVar[int] = 2

    scale: Literal["l1", "l2", "one", "two_means"] = "l1"

    @property
    def contractive(self) -> bool:
        """Whether the error is never longer than the update: of ``"l1"``, 1 - ||x||_1^2 / (n ||x||_2^2)."""
        return self.scale in ("l1", "two_means")

    @property
    def _count(self) -> int:
        return 2 if self.scale == "two_means" else 1

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return scales and one bit an element for every client and tensor; draws nothing."""

        def records(i: int, slot: Slot, block: Array) -> list[Record]:
            finite, block = finite_rows(block)
            negative = block < 0  # [K, n]
            bodies = with_scales(
                self._scales(block, negative), finite, as_bytes(np.packbits(negative, axis=1))
            )
            return [Record(i, SIGNS, slot.size, body) for body in bodies]

        return by_tensor(updates, layout, records), None

    def _scales(self, block: Array, negative: Array) -> Array:
        """Return what the signs of each row are multiplied by, float32.  # [K, 1] or [K, 2]"""
        sizes = np.abs(block).astype(np.float64)  # [K, n]
        numel = max(block.shape[1], 1)
        if self.scale == "two_means":
            below = negative.sum(axis=1)
            sums = (sizes * ~negative).sum(axis=1), (sizes * negative).sum(axis=1)
            counts = numel - below, below
            scales = np.stack([s / np.maximum(c, 1) for s, c in zip(sums, counts, strict=True)], axis=1)
        elif self.scale == "l2":
            scales = np.sqrt(np.square(sizes).sum(axis=1, keepdims=True) / numel)
        elif self.scale == "l1":
            scales = sizes.sum(axis=1, keepdims=True) / numel
        else:
            scales = (sizes.max(axis=1, initial=0, keepdims=True) > 0).astype(np.float64)
        return scales.astype(np.float32)

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return signs times their scale.  # [P]

        Raises:
            FrameError: Another tag or length, padding that is not zero, or a scale that is not finite and at
                least 0 (of plain signs: that is neither 0 nor 1).
        """
        return from_tensors(records, layout, self._values)

    def _values(self, record: Record, numel: int) -> Array:
        expect_tag(record, SIGNS)
        scales = scales_of(record, self._count)
        if self.scale == "one" and scales[0] not in (0, 1):
            raise FrameError(f"tensor {record.tensor_id}: scale {scales[0]} of plain signs, allowed 0 and 1")
        negative = unpack_fixed(record.body[4 * self._count :], numel, 1).astype(bool)
        values: Array = np.where(negative, -scales[-1], scales[0])
        return values

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> SignMismatch:
        """Return how badly signs fit, and the proportions of the tensors' mean sizes (of ``"l1"`` alone)."""
        sizes = {
            slot: float(scales_of(record, self._count).max())
            for slot, record in zip(layout.parameters, records, strict=True)
            if slot.size
        }
        coded = {slot: size for slot, size in sizes.items() if size > 0}
        logs = torch.tensor(list(coded.values())).log() if self.scale == "l1" else None
        signs = self.decode(records, layout, context).sign()
        return SignMismatch(tuple(coded), signs, logs)

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        return 4 * self._count + -(-prod(shape) // 8)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return one bit an element, and 32 a scale."""
        return float(sum(record.numel + 32 * self._count for record in records))
