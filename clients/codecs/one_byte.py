"""One byte a scalar: the update's factors along random directions that both sides know.

Source: Zelikman, Huang, Liang, Haber, Goodman. Just One Byte (per gradient): A Note on Low-Bandwidth
Decentralized Language Model Finetuning Using Shared Randomness. 2023. arXiv:2306.10015. Their published code
rounds 16 ln|p| to 255 sizes, which with a sign takes nine bits; here the step is twice as wide, and the byte
is one byte. The projection of other updates onto the directions is ours.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import CodecContext, CodecStreams
from ...core.directions import Directions, check, nearest
from ...core.errors import FrameError
from ...core.frames import Record, RecordShape
from ...core.layout import Layout, Slot
from ...core.updates import Updates
from .parts.log_bytes import ILLEGAL, from_log_bytes, to_log_bytes
from .parts.packing import BYTES, Array, expect_tag
from .parts.spans import SpanMismatch

MANY = 1e8
"""Normals of a round above which it is said that this takes long: about a second of one core."""


@dataclass(frozen=True)
class OneByte:
    """Send S bytes: the factors of the nearest combination of S random directions, each in one byte.

    A message of ``mezo`` with the same ``scalars_per_round`` and ``seed_pool`` is such a combination, and
    loses nothing but what a byte loses: at most 6.5 % of each factor, where its size is from 3.8e-4 to 2630
    units; what is smaller becomes 0 (below 1.9e-4) or 3.8e-4, and what is larger 2630. Of another update the
    part in their span is sent, a share of about S / P of its squared length: it is biased, and never longer
    than the update; put error feedback around it. Where bytes would lose more than the whole update, zeros
    are sent.

    Both sides draw S P normals a client, see ``core.directions``: for few parameters.

    Attributes:
        scalars_per_round: S, from 1 to 4096.
        seed_pool: From how many directions, the same in all rounds, a client draws its S; from S to 65,536.
            None: every round and client has its own.
        unit: What a byte of 1.0 stands for, in units of the message, above 0.
    """

    codec_id: ClassVar[int] = 15
    contractive: ClassVar[bool] = True

    scalars_per_round: int = 10
    seed_pool: int | None = None
    unit: float = 1.0

    def __post_init__(self) -> None:
        check(self.scalars_per_round, self.seed_pool)
        if not 0 < self.unit <= 1e30:
            raise ValueError(f"unit must be above 0 and at most 1e30, got {self.unit}")

    def init(self) -> None:
        return None

    def encode(
        self, updates: Updates, layout: Layout, state: None, streams: CodecStreams
    ) -> tuple[list[list[Record]], None]:
        """Return S bytes a client; of an update that is not finite, bytes that no decoder takes."""
        normals = len(updates) * self.scalars_per_round * layout.num_parameters
        if normals > MANY:
            warnings.warn(
                f"one_byte: {normals:.3g} random numbers a round, each drawn several times "
                f"({len(updates)} clients, {self.scalars_per_round} scalars, {layout.num_parameters} "
                "parameters); above 1e8 it takes long",
                stacklevel=2,
            )
        contexts = [streams.context(client) for client in updates.client_ids.tolist()]
        vectors = updates.vectors.detach().cpu().numpy()
        codes = [
            self._codes(row, self._directions(layout, c)) for row, c in zip(vectors, contexts, strict=True)
        ]
        return [[Record(0, BYTES, len(code), code.tobytes())] for code in codes], None

    def _directions(self, layout: Layout, context: CodecContext) -> Directions:
        where = context.seed, context.round, context.client_id
        return Directions(*where, self.scalars_per_round, layout.num_parameters, self.seed_pool)

    def _codes(self, vector: Array, directions: Directions) -> Array:
        """Return the bytes of one update [P].  # [S]"""
        if not np.isfinite(vector).all():
            return np.full(self.scalars_per_round, ILLEGAL, dtype=np.uint8)
        gram, along = directions.products(vector)
        codes = to_log_bytes(nearest(gram, along) / self.unit)
        factors = from_log_bytes(codes) * self.unit
        shorter = factors @ gram @ factors <= 2 * factors @ along  # what is lost is no longer than the update
        return codes if shorter else np.zeros_like(codes)

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return the combination of the directions of the frame's round and client.  # [P]

        Raises:
            FrameError: Another tag or length, a byte 0x80, or a value that is not finite.
        """
        vector = self._directions(layout, context).combined(self._factors(records[0]))
        if not np.isfinite(vector).all():
            raise FrameError("one_byte: a value is not finite")
        return torch.from_numpy(vector)

    def _factors(self, record: Record) -> Array:
        expect_tag(record, BYTES)
        if len(record.body) != self.scalars_per_round:
            raise FrameError(f"one_byte: {len(record.body)} bytes, expected {self.scalars_per_round}")
        return from_log_bytes(np.frombuffer(record.body, dtype=np.uint8)) * self.unit

    def mismatch(
        self, records: Sequence[Record], layout: Layout, context: CodecContext
    ) -> SpanMismatch | None:
        """Return the distance to the nearest update whose part in the span of the directions was sent."""
        decoded, size = self.decode(records, layout, context), layout.num_parameters
        if not size:
            return None
        found = np.stack(list(self._directions(layout, context).each()), axis=1)  # [P, S]
        span = torch.linalg.qr(torch.from_numpy(found).double()).Q.float()
        return SpanMismatch.of(decoded, {Slot("all", (size, 1), 0): span})

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        """Return the one record of all factors, in the place of the tensors."""
        return (RecordShape(0, (self.scalars_per_round,)),)

    def max_body(self, shape: tuple[int, ...]) -> int:
        return prod(shape)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return 8 bits a factor."""
        return 8.0 * sum(record.numel for record in records)
