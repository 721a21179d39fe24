"""GradNormLoRP: of every row how far it moves along itself, and of the rest its part in a common subspace.

Source: Huang, Hu, Kao, Chen. Gradient Weight-normalized Low-rank Projection for Efficient LLM Training. AAAI
2025. arXiv:2412.19616 (the formulas from the authors' code). There W = m V with rows of V of length 1 is
trained, and the gradient of V is projected as in GaLore; here the message is split that way, and V are the
rows of the parameters that the clients received, made of length 1 anew each round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import CodecContext, CodecStreams
from ...core.frames import Record, RecordShape, one_a_tensor
from ...core.layout import Layout, Slot
from ...core.trees import State
from ...core.updates import Updates
from .parts.bases import Bases, Projection, init_bases, of_one_round, share_bases
from .parts.images import ImageMismatch
from .parts.matrices import coefficients, lifted, rounded, standing_shape
from .parts.packing import (
    DENSE_F32,
    Array,
    as_bytes,
    by_tensor,
    expect_tag,
    finite_rows,
    pack_floats,
    unpack_values,
)
from .parts.params import params_of
from .parts.wire import first_of_cohort

SPLIT = 0x40
"""Tag: float32 magnitudes, then coefficients in a basis that both sides know."""


@dataclass(frozen=True)
class GradNormLoRP:
    """Send g_m = sum_j V_ij G_ij of each row of a matrix G [n, m], and G - V g_m as ``low_rank`` does.

    V are the rows of the parameters that the clients received, of length 1; where these do not lie as the
    message does, or a row is 0, one of equal entries stands for it. What is decoded, V g_m and the projection
    of the rest, is biased, never longer than G, and linear. Vectors, and matrices whose lesser side is at
    most ``rank``, are sent as they are.

    Attributes:
        rank, period, refresh: As of ``low_rank``.
    """

    codec_id: ClassVar[int] = 20
    contractive: ClassVar[bool] = True
    additive: ClassVar[bool] = True
    reads_params: ClassVar[bool] = True

    init = init_bases
    share = share_bases
    of_one_round = of_one_round
    decode = first_of_cohort

    rank: int = 8
    period: int = 20
    refresh: Literal["full", "server", "random"] = "full"

    def __post_init__(self) -> None:
        self._bases.init()  # which says what is out of range

    @cached_property
    def _bases(self) -> Bases:
        return Bases(self.rank, self.period, self.refresh)

    def encode(
        self, updates: Updates, layout: Layout, state: State, streams: CodecStreams
    ) -> tuple[list[list[Record]], State]:
        """Return magnitudes and coefficients, or what is sent as it is, for every client and tensor."""
        parts = self._parts(layout, streams.context(0))

        def records(i: int, slot: Slot, block: Array) -> list[Record]:
            part = parts[i]
            if part is None:
                return [Record(i, DENSE_F32, slot.size, body) for body in as_bytes(pack_floats(block))]
            directions, basis = part
            finite, block = finite_rows(block)
            rows = block.astype(np.float64).reshape(len(block), *directions.shape)
            sizes = np.where(finite[:, None], rounded((rows * directions).sum(axis=2)), np.float32(np.nan))
            rest = (rows - (rows * directions).sum(axis=2, keepdims=True) * directions).reshape(block.shape)
            sent = np.concatenate([sizes, coefficients(rest, slot.shape, basis)], axis=1)
            return [Record(i, SPLIT, slot.size, body) for body in as_bytes(pack_floats(sent))]

        return by_tensor(updates, layout, records), self._bases.after(state, layout, streams)

    def _parts(self, layout: Layout, context: CodecContext) -> list[tuple[Array, Array] | None]:
        """Return (V [n, m], the basis) of each matrix, float64; None of those that are sent as they are."""
        params = params_of(layout, context.params)
        found: list[tuple[Array, Array] | None] = []
        for slot, basis in zip(layout.parameters, self._bases.known(layout, context), strict=True):
            if basis is None:
                found.append(None)
                continue
            own = np.ones(slot.size) if params is None else params[slot.start : slot.start + slot.size]
            found.append((_directions(own.reshape(slot.shape[0], -1)), basis))
        return found

    def decode_cohort(
        self, cohort: Sequence[Sequence[Record]], layout: Layout, contexts: Sequence[CodecContext]
    ) -> Tensor:
        """Return V g_m and what is projected of the rest, or what was sent as it is.  # [K, P]

        Of frames of one round, whose bases are read once.

        Raises:
            FrameError: Another tag or length than the round's, or a value that is not finite.
        """
        vectors = np.empty((len(cohort), layout.num_parameters), dtype=np.float32)
        parts = self._parts(layout, contexts[0])
        for i, (slot, part) in enumerate(zip(layout.parameters, parts, strict=True)):
            column = [records[i] for records in cohort]
            vectors[:, slot.start : slot.start + slot.size] = _read(column, slot, part)
        return torch.from_numpy(vectors)

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> ImageMismatch:
        """Return 1 - cos to what the codec makes of an update: what lies outside was never sent."""
        parts = self._parts(layout, context)
        image = Split(
            Projection.of(layout, [None if part is None else part[1] for part in parts]),
            tuple(
                (slot.start, torch.from_numpy(part[0]).float())
                for slot, part in zip(layout.parameters, parts, strict=True)
                if part is not None
            ),
        )
        return ImageMismatch.of(self.decode(records, layout, context), image)

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        numel = prod(shape)
        if not self._bases.has(shape):
            return 4 * numel
        split = 4 * (shape[0] + self.rank * standing_shape(shape)[0])
        return split if self.refresh == "random" else max(4 * numel, split)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return 32 bits a number sent."""
        return 8.0 * sum(len(record.body) for record in records)


@dataclass(frozen=True, eq=False)
class Split:
    """The map of updates [..., P] to what the codec makes of them.

    Attributes:
        projection: Onto the bases.
        directions: Of each matrix with a basis its start and V, float32 [n, m].
    """

    projection: Projection
    directions: tuple[tuple[int, Tensor], ...]

    def __call__(self, updates: Tensor) -> Tensor:
        along = updates * 0
        for start, rows in self.directions:
            end = start + rows.numel()
            own = updates[..., start:end].reshape(*updates.shape[:-1], *rows.shape)
            part = ((own * rows).sum(dim=-1, keepdim=True) * rows).flatten(-2)
            along = along.slice_scatter(part, dim=-1, start=start, end=end)
        return along + self.projection(updates - along)


def _directions(rows: Array) -> Array:
    """Return rows [n, m] of length 1, float64; equal entries in the place of a row of zeros."""
    wide = rows.astype(np.float64)
    wide = np.where(np.abs(wide).max(axis=1, keepdims=True) > 0, wide, 1.0)
    wide /= np.abs(wide).max(axis=1, keepdims=True)
    unit: Array = wide / np.sqrt(np.square(wide).sum(axis=1, keepdims=True))
    return unit


def _read(column: Sequence[Record], slot: Slot, part: tuple[Array, Array] | None) -> Array:
    """Return one tensor of each of K frames, float32 and finite.  # [K, n]"""
    for record in column:
        expect_tag(record, DENSE_F32 if part is None else SPLIT)
    if part is None:
        return np.stack([unpack_values(record.body, slot.size, "<f4") for record in column])
    directions, basis = part
    n, numel = len(directions), standing_shape(slot.shape)[0] * basis.shape[1]
    sent = np.stack([unpack_values(record.body, n + numel, "<f4") for record in column])
    along = (sent[:, :n, None].astype(np.float64) * directions).reshape(len(column), -1)
    return rounded(along + lifted(sent[:, n:], slot.shape, basis))
