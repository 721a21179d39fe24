"""Low-rank exchange: of every matrix its part in a subspace that all clients share for some rounds.

Source: Zhao, Zhang, Chen, Wang, Anandkumar, Tian. GaLore: Memory-Efficient LLM Training by Gradient Low-Rank
Projection. ICML 2024. arXiv:2403.03507; Zhang, Jaiswal, Yin, Liu, Zhao, Tian, Wang. Q-GaLore. 2024.
arXiv:2407.08296 (``lazy``, ``bits``). There one worker projects its gradient to save memory, with Adam inside
the subspace and a factor on what comes back; here messages are projected, and both are the server
optimiser's.
"""

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
from .parts.packing import DENSE_F32, Array, as_bytes, by_tensor, expect_tag, pack_floats, unpack_values
from .parts.wire import first_of_cohort

PROJECTED = 0x40
"""Tag: float32 coefficients in a basis that both sides know."""


@dataclass(frozen=True)
class LowRank:
    """Send M B [long, rank] of each matrix M [long, short], with a common orthonormal basis B [short, rank].

    What is decoded is M B B^T: biased, never longer than M, and linear, so that messages of one round add up.
    A matrix lies so that ``short`` is its lesser side. Vectors, and matrices with ``short`` of at most
    ``rank``, are sent as they are, in float32. Between two bases of the same span nothing outside it is ever
    seen: error feedback keeps what is left out until the basis moves.

    Attributes:
        rank: r, the columns of a basis, at least 1.
        period: T, the rounds for which a basis is kept; at least 2 where ``refresh`` is ``"full"``, else 1.
        refresh: Where a basis comes from. ``"full"``: every T-th round all matrices are sent whole, and the
            server takes the right singular vectors of its aggregate of that round. ``"server"``: those of the
            parameters, which cost no round but the first. Both bases travel down before every round (4 short
            rank bytes a matrix), and the codec keeps them from round to round: no central epsilon is printed.
            ``"random"``: drawn anew every T rounds from a stream that both sides know; costs no byte.
        bits: Bits of a number of a basis that travels, from 2 to 8, in groups of 64 with a scale and a zero
            of 4 bytes each (Q-GaLore), or None: float32. Read bases are made orthonormal again.
        lazy: Whether a matrix's period doubles when the mean cosine between the first vectors of its last 5
            pairs of bases is 0.4 or more (Q-GaLore).
    """

    codec_id: ClassVar[int] = 14
    contractive: ClassVar[bool] = True
    additive: ClassVar[bool] = True

    init = init_bases
    share = share_bases
    of_one_round = of_one_round
    decode = first_of_cohort

    rank: int = 8
    period: int = 20
    refresh: Literal["full", "server", "random"] = "full"
    bits: int | None = None
    lazy: bool = False

    def __post_init__(self) -> None:
        self._bases.init()  # which says what is out of range

    @cached_property
    def _bases(self) -> Bases:
        return Bases(self.rank, self.period, self.refresh, bits=self.bits, lazy=self.lazy)

    def encode(
        self, updates: Updates, layout: Layout, state: State, streams: CodecStreams
    ) -> tuple[list[list[Record]], State]:
        """Return each matrix's coefficients, or what is sent as it is, for every client and tensor."""
        bases = self._bases.known(layout, streams.context(0))

        def records(i: int, slot: Slot, block: Array) -> list[Record]:
            basis = bases[i]
            if basis is None:
                return [Record(i, DENSE_F32, slot.size, body) for body in as_bytes(pack_floats(block))]
            sent = pack_floats(coefficients(block, slot.shape, basis))
            return [Record(i, PROJECTED, slot.size, body) for body in as_bytes(sent)]

        return by_tensor(updates, layout, records), self._bases.after(state, layout, streams)

    def decode_cohort(
        self, cohort: Sequence[Sequence[Record]], layout: Layout, contexts: Sequence[CodecContext]
    ) -> Tensor:
        """Return M B B^T of each matrix, or what was sent as it is.  # [K, P]

        Of frames of one round, whose bases are read once.

        Raises:
            FrameError: Another tag or length than the round's, or a value that is not finite.
        """
        bases = self._bases.known(layout, contexts[0])
        vectors = np.empty((len(cohort), layout.num_parameters), dtype=np.float32)
        for i, (slot, basis) in enumerate(zip(layout.parameters, bases, strict=True)):
            column = [records[i] for records in cohort]
            vectors[:, slot.start : slot.start + slot.size] = read_matrices(column, slot, basis)
        return torch.from_numpy(vectors)

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> ImageMismatch:
        """Return 1 - cos to what is projected of an update: what lies outside the bases was never sent."""
        bases = self._bases.known(layout, context)
        return ImageMismatch.of(self.decode(records, layout, context), Projection.of(layout, bases))

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        """Return the bytes of a tensor that is sent whole: with a basis it is shorter."""
        return 4 * prod(shape)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return 32 bits a number sent; the bases are counted as bytes down."""
        return 8.0 * sum(len(record.body) for record in records)


def read_matrices(column: Sequence[Record], slot: Slot, basis: Array | None) -> Array:
    """Return one tensor of each of K frames, float32 and finite.  # [K, n]"""
    for record in column:
        expect_tag(record, DENSE_F32 if basis is None else PROJECTED)
    if basis is None:
        return np.stack([unpack_values(record.body, slot.size, "<f4") for record in column])
    numel = standing_shape(slot.shape)[0] * basis.shape[1]
    sent = np.stack([unpack_values(record.body, numel, "<f4") for record in column])
    return rounded(lifted(sent, slot.shape, basis))
