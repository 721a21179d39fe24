"""PowerSGD: every matrix as a product of two thin ones, by power iteration.

Source: Vogels, Karimireddy, Jaggi. PowerSGD: Practical Low-Rank Gradient Compression for Distributed
Optimization. NeurIPS 2019, Algorithm 1. arXiv:1905.13727. There both factors are averaged over the workers,
which takes two trips to the server; here a client iterates alone and sends both in one message, so that
products are averaged, and more iterations stand in the place of the warm start, which needs memory. The mean
of K products has rank K r: of alike clients it is nearer to their mean update than what two trips give, and
of clients that differ much it may be farther. Two trips add up under secure sums, and one does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import CodecContext, CodecStreams
from ...core.errors import FrameError
from ...core.frames import Record, RecordShape, one_a_tensor
from ...core.layout import Layout, Slot
from ...core.updates import Updates
from .parts.packing import (
    DENSE_F32,
    Array,
    as_bytes,
    by_tensor,
    expect_tag,
    from_tensors,
    pack_floats,
    unpack_values,
)
from .parts.spans import SpanMismatch


@dataclass(frozen=True)
class PowerSGD:
    """Send each tensor of shape [n, ...] as P [n, rank] and Q [m, rank]; m is the product of the others.

    P is orthonormal and Q = M^T P, so that what is decoded is the projection of M onto the span of P: it is
    biased, and never longer than M. Put error feedback around it. Vectors, and matrices that it would not
    make at least ``min_ratio`` times smaller, are sent as they are, in float32.

    Attributes:
        rank: Columns of P and Q, at least 1.
        iterations: Power iterations from a random start, at least 1. More come closer to the best projection.
        min_ratio: How many times smaller a tensor must become, at least 1.
    """

    codec_id: ClassVar[int] = 11
    contractive: ClassVar[bool] = True

    rank: int = 2
    iterations: int = 3
    min_ratio: float = 1.5

    def __post_init__(self) -> None:
        for name in ("rank", "iterations", "min_ratio"):
            if not 1 <= getattr(self, name) < inf:
                raise ValueError(f"{name} must be at least 1 and finite, got {getattr(self, name)}")

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return both factors, or what is sent as it is, for every client and tensor."""
        contexts = [streams.context(client) for client in updates.client_ids.tolist()]

        def records(i: int, slot: Slot, block: Array) -> list[Record]:
            block = np.where(np.isfinite(block).all(axis=1, keepdims=True), block, np.float32(np.nan))
            if self._sides(slot.shape) is not None:
                block = self._factors(block, slot.shape, f"start of tensor {i}", contexts)
            return [Record(i, DENSE_F32, slot.size, body) for body in as_bytes(pack_floats(block))]

        return by_tensor(updates, layout, records), None

    def _sides(self, shape: tuple[int, ...]) -> tuple[int, int] | None:
        """Return n and m of a tensor that is sent as factors; None of one that is sent as it is."""
        if len(shape) < 2 or not prod(shape):
            return None
        n, m = shape[0], prod(shape[1:])
        pays = self.rank * (n + m) * self.min_ratio <= n * m  # never of a rank above n or m
        return (n, m) if pays else None

    def _factors(
        self, block: Array, shape: tuple[int, ...], name: str, contexts: Sequence[CodecContext]
    ) -> Array:
        """Return P and Q of one tensor of each client, flat, one after the other.  # [K, rank (n + m)]"""
        n, m = shape[0], prod(shape[1:])
        starts = [context.stream(name).standard_normal((m, self.rank)) for context in contexts]
        finite = torch.from_numpy(block).isfinite().all(dim=1)[:, None, None]  # [K, 1, 1]
        matrices = torch.from_numpy(block).double().reshape(-1, n, m).where(finite, 0.0)
        matrices = matrices / matrices.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1e-300)
        sizes = torch.from_numpy(np.abs(block).astype(np.float64)).amax(dim=1)[:, None, None]
        q = torch.from_numpy(np.stack(starts))  # [K, m, rank]
        for _ in range(self.iterations):
            p = torch.linalg.qr(matrices @ q).Q  # [K, n, rank]
            q = matrices.mT @ p
        both = torch.cat([p.flatten(1), (q * sizes).flatten(1)], dim=1)
        return both.where(finite[:, 0], torch.nan).float().numpy()

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return P Q^T of each tensor, or what was sent as it is.  # [P]

        Raises:
            FrameError: Another tag or length, or a value that is not finite, of a factor or of the product.
        """
        shapes = {i: slot.shape for i, slot in enumerate(layout.parameters)}
        return from_tensors(records, layout, lambda record, _: self._values(record, shapes[record.tensor_id]))

    def _values(self, record: Record, shape: tuple[int, ...]) -> Array:
        expect_tag(record, DENSE_F32)
        sides = self._sides(shape)
        if sides is None:
            return unpack_values(record.body, prod(shape), "<f4")
        (n, m), r = sides, self.rank
        both = unpack_values(record.body, r * (n + m), "<f4")
        with np.errstate(over="ignore", invalid="ignore"):
            found: Array = both[: r * n].reshape(n, r) @ both[r * n :].reshape(m, r).T
        if not np.isfinite(found).all():
            raise FrameError(f"tensor {record.tensor_id}: a product is not finite")
        return found.reshape(-1)

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> SpanMismatch:
        """Return the distance to the nearest update of which the part in the span of P was sent."""
        spans = {}
        for slot, record in zip(layout.parameters, records, strict=True):
            if (sides := self._sides(slot.shape)) is not None:
                p = np.frombuffer(record.body, "<f4", self.rank * sides[0]).reshape(-1, self.rank)
                spans[slot] = torch.from_numpy(p.copy())
        return SpanMismatch.of(self.decode(records, layout, context), spans)

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        sides = self._sides(shape)
        return 4 * (prod(shape) if sides is None else self.rank * sum(sides))

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return 32 bits a number sent."""
        return 8.0 * sum(len(record.body) for record in records)
