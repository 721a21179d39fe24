"""FRUGAL: of every matrix its part in a common subspace, and of what lies outside the signs.

Source: Zmushko, Beznosikov, Takac, Horvath. FRUGAL: Memory-Efficient Optimization by Reducing State Overhead
for Scalable Training. ICML 2025. arXiv:2411.07837. There Adam works inside the subspace and signSGD outside,
to save memory; here it is the message that is split, the signs have one scale a matrix, and how the server
steps is the server optimiser's. The rule was taken from a public summary, not from the authors' code.
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
from .parts.mismatches import TINY, sizes_of
from .parts.packing import (
    DENSE_F32,
    Array,
    as_bytes,
    by_tensor,
    expect_tag,
    pack_floats,
    scales_of,
    unpack_fixed,
    unpack_values,
)
from .parts.wire import first_of_cohort

SPLIT = 0x42
"""Tag: a scale, float32 coefficients in a basis that both sides know, and a sign an element."""


@dataclass(frozen=True)
class Frugal:
    """Send M B as ``low_rank`` does, and s sign(E) of E = M - M B B^T, with s its mean size.

    What is lost is never longer than what ``low_rank`` loses: ||E||^2 - n s^2. It is not linear, so that
    messages do not add up under secure aggregation: ``low_rank`` is this codec without signs. A sign of 0
    counts as positive. Vectors, and matrices whose lesser side is at most ``rank``, are sent as they are.

    Attributes:
        rank: r, the columns of a basis, at least 1.
        period: The rounds for which a basis is kept; at least 2 where ``refresh`` is ``"full"``, else 1.
        refresh: Where a basis comes from: see ``low_rank``.
        space: ``"low_rank"``: a basis is of singular vectors (or random directions); ``"columns"``: it is of
            ``rank`` columns of the matrix as it stands, the longest ones (or random ones), so that these are
            sent as they are; 4 bytes a column down.
    """

    codec_id: ClassVar[int] = 18
    contractive: ClassVar[bool] = True

    init = init_bases
    share = share_bases
    of_one_round = of_one_round
    decode = first_of_cohort

    rank: int = 8
    period: int = 20
    refresh: Literal["full", "server", "random"] = "full"
    space: Literal["low_rank", "columns"] = "low_rank"

    def __post_init__(self) -> None:
        self._bases.init()  # which says what is out of range

    @cached_property
    def _bases(self) -> Bases:
        return Bases(self.rank, self.period, self.refresh, columns=self.space == "columns")

    def encode(
        self, updates: Updates, layout: Layout, state: State, streams: CodecStreams
    ) -> tuple[list[list[Record]], State]:
        """Return scale, coefficients and signs, or what is sent as it is, for every client and tensor."""
        bases = self._bases.known(layout, streams.context(0))

        def records(i: int, slot: Slot, block: Array) -> list[Record]:
            basis = bases[i]
            if basis is None:
                return [Record(i, DENSE_F32, slot.size, body) for body in as_bytes(pack_floats(block))]
            bodies = as_bytes(_split(block, slot.shape, basis))
            return [Record(i, SPLIT, slot.size, body) for body in bodies]

        return by_tensor(updates, layout, records), self._bases.after(state, layout, streams)

    def decode_cohort(
        self, cohort: Sequence[Sequence[Record]], layout: Layout, contexts: Sequence[CodecContext]
    ) -> Tensor:
        """Return M B B^T + s sign(E) of each matrix, or what was sent as it is.  # [K, P]

        Of frames of one round, whose bases are read once.

        Raises:
            FrameError: Another tag or length than the round's, a value that is not finite, a scale below 0,
                or padding that is not zero.
        """
        inside, signs = self._parts(cohort, layout, self._bases.known(layout, contexts[0]))
        return torch.from_numpy(rounded(inside + signs))

    def _parts(
        self, cohort: Sequence[Sequence[Record]], layout: Layout, bases: Sequence[Array | None]
    ) -> tuple[Array, Array]:
        """Return what lies in the subspaces, and the scaled signs beside it, float64.  # [K, P] each"""
        inside = np.zeros((len(cohort), layout.num_parameters))
        signs = np.zeros_like(inside)
        for i, (slot, basis) in enumerate(zip(layout.parameters, bases, strict=True)):
            column, where = [records[i] for records in cohort], slice(slot.start, slot.start + slot.size)
            for record in column:
                expect_tag(record, DENSE_F32 if basis is None else SPLIT)
            if basis is None:
                inside[:, where] = [unpack_values(record.body, slot.size, "<f4") for record in column]
                continue
            numel = standing_shape(slot.shape)[0] * self.rank
            at = 4 + 4 * numel
            sent = np.stack([unpack_values(record.body[4:at], numel, "<f4") for record in column])
            scales = np.stack([scales_of(record, 1) for record in column]).astype(np.float64)  # [K, 1]
            negative = np.stack([unpack_fixed(record.body[at:], slot.size, 1) for record in column]) > 0
            inside[:, where] = lifted(sent, slot.shape, basis)
            signs[:, where] = np.where(negative, -scales, scales)
        return inside, signs

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> SplitMismatch:
        """Return 1 - cos to what is projected of an update, and how far the rest lies on the other side."""
        bases = self._bases.known(layout, context)
        ((inside,), (signs,)) = self._parts([records], layout, bases)
        image = Projection.of(layout, bases)
        along = ImageMismatch.of(torch.from_numpy(rounded(inside)), image)
        slots = [slot for slot, basis in zip(layout.parameters, bases, strict=True) if basis is not None]
        slots = [slot for slot in slots if signs[slot.start] != 0]
        if not slots:
            return SplitMismatch(along, None)
        return SplitMismatch(along, SignHinge(tuple(slots), torch.from_numpy(np.sign(signs)).float()))

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        numel = prod(shape)
        if not self._bases.has(shape):
            return 4 * numel
        split = 4 + 4 * self.rank * standing_shape(shape)[0] + -(-numel // 8)
        return split if self.refresh == "random" else max(4 * numel, split)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return 32 bits a number sent, and one a sign."""
        return float(sum(map(self._ideal_bits, records)))

    def _ideal_bits(self, record: Record) -> int:
        signs = record.numel if record.tag == SPLIT else 0
        return 8 * (len(record.body) - -(-signs // 8)) + signs


@dataclass(frozen=True, eq=False)
class SignHinge:
    """The mean square of what lies on the other side of its sign, in units of its tensor's rms.

    0 of the update itself. The logarithm of a logistic law, which ``sign`` has, goes on to fall as sizes
    become more alike, and that leads away from the coefficients, which say nearly all.

    Attributes:
        slots: The tensors whose scale is not 0.
        signs: -1 or 1, float32.  # [P]
    """

    slots: tuple[Slot, ...]
    signs: Tensor

    def __call__(self, updates: Tensor) -> Tensor:
        total = 0 * updates[..., 0]
        for slot in self.slots:
            part = updates.narrow(-1, slot.start, slot.size)
            unit = part / sizes_of(part)
            beyond = (-self.signs.narrow(-1, slot.start, slot.size) * unit).relu()
            square = unit.square().mean(dim=-1).add(TINY)
            total = total + beyond.square().sum(dim=-1) / square
        return total / sum(slot.size for slot in self.slots)


@dataclass(frozen=True, eq=False)
class SplitMismatch:
    """The sum of what both parts of a frame say of updates [..., P].

    Attributes:
        inside: Of what lies in the subspaces.
        outside: Of the signs of what does not; None where there are none.
    """

    inside: ImageMismatch
    outside: SignHinge | None

    scale_free: ClassVar[bool] = True

    def __call__(self, updates: Tensor) -> Tensor:
        found = self.inside(updates)
        if self.outside is None:
            return found
        return found + self.outside(updates - self.inside.image(updates))


def _split(block: Array, shape: tuple[int, ...], basis: Array) -> Array:
    """Return rows of bytes of one tensor of each client: scale, coefficients, signs.  # [K, bytes]"""
    sent = coefficients(block, shape, basis)  # NaN where a client's is not finite
    with np.errstate(invalid="ignore"):
        rest = block - lifted(sent, shape, basis)  # E, float64  [K, n]
        scales = rounded(np.abs(rest).mean(axis=1, keepdims=True))
    signs = np.packbits(rest < 0, axis=1)
    return np.concatenate([pack_floats(scales), pack_floats(sent), signs], axis=1)
