"""LIFT: of every matrix the entries that are largest in a low-rank approximation of the broadcast weights.

Source: Liu, Pang, Balabanov, Yang, Huang, Yin, Yang, Liu. LIFT the Veil for the Truth: Principal Weights
Emerge after Rank Reduction for Reasoning-Focused Supervised Fine-Tuning. ICML 2025. arXiv:2506.00772 (number
unverified). There the mask says which weights are trained at all; here what is trained is untouched, and the
mask says what is sent. Masks are made anew from each round's parameters; the authors keep one for some steps.
Their score by movement needs weights of earlier rounds and is not built.
"""

import zlib
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
from .parts.mismatches import CellMismatch
from .parts.packing import Array, as_bytes, by_tensor, expect_tag, finite_rows, pack_floats, unpack_values
from .parts.params import params_of

MASKED = 0x40
"""Tag: float32 values on a support that both sides know."""


@dataclass(frozen=True)
class Lift:
    """Send each matrix's values where the parameters that the clients received score highest.

    The support follows from what the server broadcast: no position is sent, messages add up, and it tells
    nothing of any client's data. Everything else comes back as 0, and vectors are not sent at all. It is
    biased and never longer than the update; error feedback keeps the rest, but lets out only what the mask
    moves to. Where a message's tensors are not the model's own (or several times these), scores are random.

    Attributes:
        density: The share of each matrix's n m entries that is sent, above 0 and at most 1; at least one is.
        rank: In the place of the density: k = (n + m) rank entries, as many as LoRA of this rank has (the
            authors' code), at most n m; or None.
        filter_rank: The rank of the approximation, at least 1. From min(n, m) on it is ``"magnitude"``.
        score: The size of an entry of the best approximation of that rank (``"lift"``), of the parameter
            itself (``"magnitude"``), or a draw of the round that all clients share (``"random"``). The first
            is rounded to 12 digits, and each matrix costs 4 bytes more: the CRC-32 of its support, which a
            server whose linear algebra orders near-equal scores otherwise refuses.
    """

    codec_id: ClassVar[int] = 19
    contractive: ClassVar[bool] = True
    additive: ClassVar[bool] = True

    density: float = 0.05
    rank: int | None = None
    filter_rank: int = 8
    score: Literal["lift", "magnitude", "random"] = "lift"

    def __post_init__(self) -> None:
        if not 0 < self.density <= 1:
            raise ValueError(f"density must be above 0 and at most 1, got {self.density}")
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"rank must be at least 1, or left out, got {self.rank}")
        if self.filter_rank < 1:
            raise ValueError(f"filter_rank must be at least 1, got {self.filter_rank}")

    @property
    def reads_params(self) -> bool:
        return self.score != "random"

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return the values on the supports for every client and tensor; draws nothing."""
        supports = self._supports(layout, streams.context(0))

        def records(i: int, slot: Slot, block: Array) -> list[Record]:
            finite, _ = finite_rows(block)
            kept = np.where(finite[:, None], block[:, supports[i]], np.float32(np.nan))
            head = self._head(supports[i])
            return [Record(i, MASKED, slot.size, head + body) for body in as_bytes(pack_floats(kept))]

        return by_tensor(updates, layout, records), None

    def _supports(self, layout: Layout, context: CodecContext) -> list[Array]:
        """Return the ascending places of each tensor that are sent; none of a vector."""
        params = params_of(layout, context.params) if self.reads_params else None
        found = []
        for i, slot in enumerate(layout.parameters):
            count = self._count(slot.shape)
            if params is None:
                words = context.common_stream(f"support of tensor {i}").bit_generator.random_raw(slot.size)
                order = np.argsort(words, kind="stable")
            else:
                weights = params[slot.start : slot.start + slot.size]
                order = np.argsort(-self._scores(weights, slot.shape), kind="stable") if count else weights
            found.append(np.sort(order[:count]).astype(np.int64))
        return found

    def _count(self, shape: tuple[int, ...]) -> int:
        numel = prod(shape)
        if len(shape) < 2 or not numel:
            return 0
        wanted = round(self.density * numel)
        if self.rank is not None:
            wanted = self.rank * (shape[0] + prod(shape[1:]))
        return min(numel, max(1, wanted))

    def _scores(self, weights: Array, shape: tuple[int, ...]) -> Array:
        """Return how much each entry of a matrix counts, float64.  # [n]"""
        sizes: Array = np.abs(weights.astype(np.float64))
        largest = sizes.max()
        if self.score == "magnitude" or self.filter_rank >= min(shape[0], prod(shape[1:])) or not largest:
            return sizes
        left, values, right = np.linalg.svd((weights / largest).reshape(shape[0], -1), full_matrices=False)
        r = self.filter_rank
        scores: Array = np.abs((left[:, :r] * values[:r]) @ right[:r]).round(12).reshape(-1)
        return scores

    def _head(self, support: Array) -> bytes:
        """Return the checksum of a support that linear algebra decided, or nothing."""
        checked = self.score == "lift" and len(support)
        return zlib.crc32(support.astype("<i8").tobytes()).to_bytes(4, "little") if checked else b""

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return the values at their places, and zeros elsewhere.  # [P]

        Raises:
            FrameError: Another tag or length, the checksum of another support, or a value that is not finite.
        """
        return self.decode_cohort([records], layout, [context])[0]

    def decode_cohort(
        self, cohort: Sequence[Sequence[Record]], layout: Layout, contexts: Sequence[CodecContext]
    ) -> Tensor:
        """Return ``decode`` of several frames of one round, whose supports are found once.  # [K, P]

        Raises:
            FrameError: One of them is bad.
        """
        vectors = np.zeros((len(cohort), layout.num_parameters), dtype=np.float32)
        supports = self._supports(layout, contexts[0])
        for i, (slot, places) in enumerate(zip(layout.parameters, supports, strict=True)):
            values = [self._values(records[i], places) for records in cohort]
            vectors[:, slot.start + places] = np.stack(values)
        return torch.from_numpy(vectors)

    def _values(self, record: Record, places: Array) -> Array:
        expect_tag(record, MASKED)
        head = self._head(places)
        if not record.body.startswith(head):
            raise FrameError(f"tensor {record.tensor_id}: values on another support than the server's")
        return unpack_values(record.body[len(head) :], len(places), "<f4")

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> CellMismatch:
        """Return the distance to the nearest update with these values; what was not sent may be anything."""
        free = torch.full((layout.num_parameters,), torch.inf)
        for slot, places in zip(layout.parameters, self._supports(layout, context), strict=True):
            free[slot.start + places] = 0.0
        return CellMismatch.of(self.decode(records, layout, context), free, free)

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        count = self._count(shape)
        return 4 * count + (4 if self.score == "lift" and count else 0)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return 32 bits a value: positions cost none."""
        return float(sum(32 * self._count(slot.shape) for slot in layout.parameters))
