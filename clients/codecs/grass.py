"""Grass: some rows of every matrix, the same ones for all clients.

Source: Muhamed, Li, Woodruff, Diab, Smith. Grass: Compute Efficient Low-Memory LLM Training with Structured
Sparse Gradients. EMNLP 2024. arXiv:2406.17660 (abstract and a public page of formulas). There rows of a
gradient are chosen to save an optimiser's memory, and kept while its moments are; here what is drawn is what
is sent, the server's step is its optimiser's, and sampled rows are drawn anew each round.
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
from ...core.trees import State
from ...core.updates import Updates
from .parts.images import ImageMismatch
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
from .parts.wire import first_of_cohort

ROWS = 0x40
"""Tag: float32 rows that both sides know."""


@dataclass(frozen=True)
class Grass:
    """Send r = max(1, round(density n)) of the n rows of a tensor [n, ...], and nothing of the others.

    Which rows follows from the squared lengths that rows of the server's aggregates had: they travel down
    (4 n bytes a matrix), so that no position is sent and messages of a round add up. The codec keeps them
    from round to round: no central epsilon is printed. Vectors, and matrices of which r is n, are sent as
    they are, in float32.

    Attributes:
        density: The share of each matrix's rows, above 0 and at most 1.
        choice: ``"sampled"``: r draws with replacement, of row j with probability q_j, times 1 / (r q_j):
            unbiased; a row drawn twice is sent once and counts twice. ``"top"``: the r longest rows, as they
            are: biased, and every ``refresh`` rounds all rows are sent, since what is not sent is never seen.
        uniform: The share of q that is the same for all rows, above 0 and at most 1; the others' is
            proportional to the squared length that the row had when it last came. Not of ``"top"``. A row
            may be multiplied by n / (r uniform): with the specification's 0.1 training diverged on digits.
        refresh: Rounds for which squared lengths are kept, at least 1; of ``"top"`` at least 2.
    """

    codec_id: ClassVar[int] = 13
    additive: ClassVar[bool] = True
    of_one_round: ClassVar[bool] = True

    decode = first_of_cohort

    density: float = 0.1
    choice: Literal["sampled", "top"] = "sampled"
    uniform: float = 1.0
    refresh: int = 10

    def __post_init__(self) -> None:
        for name in ("density", "uniform"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be above 0 and at most 1, got {getattr(self, name)}")
        least = 2 if self.choice == "top" else 1
        if self.refresh < least:
            raise ValueError(
                f"refresh must be at least {least} of choice '{self.choice}', got {self.refresh}"
            )

    @property
    def unbiased(self) -> bool:
        return self.choice == "sampled"

    @property
    def contractive(self) -> bool:
        return self.choice == "top"

    def _count(self, shape: tuple[int, ...]) -> int:
        """Return r; 0 of a tensor that is sent as it is."""
        if len(shape) < 2 or not prod(shape):
            return 0
        count = max(1, round(self.density * shape[0]))
        return count if count < shape[0] else 0

    def init(self) -> State:
        return {"shapes": [], "round": 0, "lengths": None, "factors": []}

    def share(self, params: Tensor, aggregate: Tensor, state: State) -> State:
        """Return the squared lengths of each matrix's rows [n], and whether all come in the next round."""
        shapes, known = [tuple(shape) for shape in state["shapes"]], state["lengths"]
        if not shapes or sum(map(prod, shapes)) != len(aggregate) or not bool(aggregate.isfinite().all()):
            return known
        due = state["round"] % self.refresh == 0
        came = known is None or (known["whole"] if self.choice == "top" else due)
        if not came or not bool(aggregate.any()):
            return None if known is None else {**known, "whole": self.choice == "top" and due}
        rows, at = [], 0
        for i, shape in enumerate(shapes):
            part = aggregate[at : at + prod(shape)].double()
            at += len(part)
            before = None if known is None else known["rows"][i]
            factors = state["factors"][i]
            rows.append(_lengths(part.view(shape[0], -1), factors, before) if self._count(shape) else None)
        return {"rows": rows, "whole": self.choice == "top" and due}

    def encode(
        self, updates: Updates, layout: Layout, state: State, streams: CodecStreams
    ) -> tuple[list[list[Record]], State]:
        """Return the chosen rows of every client and tensor; draws nothing from private streams."""
        chosen = self._chosen(layout, streams.context(0))

        def records(i: int, slot: Slot, block: Array) -> list[Record]:
            choice = chosen[i]
            if choice is None:
                return [Record(i, DENSE_F32, slot.size, body) for body in as_bytes(pack_floats(block))]
            finite, _ = finite_rows(block)
            kept = block.reshape(len(block), slot.shape[0], -1)[:, choice[0]].reshape(len(block), -1)
            kept = np.where(finite[:, None], kept, np.float32(np.nan))
            return [Record(i, ROWS, slot.size, body) for body in as_bytes(pack_floats(kept))]

        shapes = [list(slot.shape) for slot in layout.parameters]
        factors = [_factors(slot, choice) for slot, choice in zip(layout.parameters, chosen, strict=True)]
        after = {"shapes": shapes, "round": streams.round + 1, "lengths": streams.shared, "factors": factors}
        return by_tensor(updates, layout, records), after

    def _chosen(self, layout: Layout, context: CodecContext) -> list[tuple[Array, Array] | None]:
        """Return (ascending rows, what each is multiplied by, float64) of each matrix; None: all are sent."""
        lengths = self._told(layout, context.shared)
        if self.choice == "top" and (lengths is None or context.shared["whole"]):
            return [None] * len(layout.parameters)
        found: list[tuple[Array, Array] | None] = []
        for i, slot in enumerate(layout.parameters):
            if not (r := self._count(slot.shape)):
                found.append(None)
                continue
            known = np.zeros(slot.shape[0]) if lengths is None else lengths[i]
            if self.choice == "top":
                rows = np.sort(np.argsort(-known, kind="stable")[:r])
                found.append((rows, np.ones(r)))
                continue
            q = self._odds(known)
            words = context.common_stream(f"rows of tensor {i}").bit_generator.random_raw(r)
            drawn = np.searchsorted(np.cumsum(q)[:-1], words / 2.0**64, side="right")
            rows, times = np.unique(drawn, return_counts=True)
            found.append((rows, times / (r * q[rows])))
        return found

    def _odds(self, lengths: Array) -> Array:
        """Return the probability of each row.  # [n]"""
        n, total = len(lengths), lengths.sum()
        alike = np.full(n, 1 / n)
        return alike if not total > 0 else self.uniform * alike + (1 - self.uniform) * lengths / total

    def _told(self, layout: Layout, shared: State) -> list[Array] | None:
        """Return the shared squared lengths of each matrix, float64; None where they are of other tensors."""
        if shared is None or len(shared["rows"]) != len(layout.parameters):
            return None
        wanted = [slot.shape[0] if self._count(slot.shape) else 0 for slot in layout.parameters]
        if [0 if row is None else len(row) for row in shared["rows"]] != wanted:
            return None
        return [np.zeros(0) if row is None else row.double().numpy() for row in shared["rows"]]

    def decode_cohort(
        self, cohort: Sequence[Sequence[Record]], layout: Layout, contexts: Sequence[CodecContext]
    ) -> Tensor:
        """Return the rows in their places, each times its factor, and zeros elsewhere.  # [K, P]

        Of frames of one round, whose rows are drawn once.

        Raises:
            FrameError: Another tag or length than the round's, or a value that is not finite.
        """
        chosen = self._chosen(layout, contexts[0])
        vectors = np.zeros((len(cohort), layout.num_parameters), dtype=np.float32)
        for i, (slot, choice) in enumerate(zip(layout.parameters, chosen, strict=True)):
            column = [records[i] for records in cohort]
            vectors[:, slot.start : slot.start + slot.size] = _read(column, slot, choice)
        if not np.isfinite(vectors).all():
            raise FrameError("a row times its factor is not finite")
        return torch.from_numpy(vectors)

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> ImageMismatch:
        """Return 1 - cos to the chosen rows of an update, each times its factor."""
        weights = torch.ones(layout.num_parameters)
        for slot, choice in zip(layout.parameters, self._chosen(layout, context), strict=True):
            if (factors := _factors(slot, choice)) is not None:
                by_row = factors.repeat_interleave(slot.size // slot.shape[0])
                weights[slot.start : slot.start + slot.size] = by_row
        return ImageMismatch.of(self.decode(records, layout, context), lambda updates: updates * weights)

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        return one_a_tensor(layout)

    def max_body(self, shape: tuple[int, ...]) -> int:
        count = self._count(shape)
        rows = count if count and self.choice == "sampled" else shape[0] if shape else 1
        return 4 * rows * prod(shape[1:]) if shape else 4

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return 32 bits a number sent: which rows they are costs none."""
        return 8.0 * sum(len(record.body) for record in records)


def _factors(slot: Slot, choice: tuple[Array, Array] | None) -> Tensor | None:
    """Return what each row was multiplied by, 0 where it was not sent, float32 [n]; None: all came."""
    if choice is None:
        return None
    found = np.zeros(slot.shape[0])
    found[choice[0]] = choice[1]
    return torch.from_numpy(found).float()


def _lengths(matrix: Tensor, factors: Tensor | None, before: Tensor | None) -> Tensor:
    """Return each row's squared length [n] before its factor; the one that it had of a row of zeros.

    So it is of a row that nobody sent: what a noised aggregate holds there is noise alone.
    """
    if factors is not None:
        sent = factors > 0
        matrix = (matrix / factors.double().where(sent, 1.0)[:, None]).where(sent[:, None], 0.0)
    found = matrix.square().sum(dim=1)
    return (found if before is None else found.where(found > 0, before.double())).clamp(max=3e38).float()


def _read(column: Sequence[Record], slot: Slot, choice: tuple[Array, Array] | None) -> Array:
    """Return one tensor of each of K frames, float32.  # [K, n]"""
    for record in column:
        expect_tag(record, DENSE_F32 if choice is None else ROWS)
    if choice is None:
        return np.stack([unpack_values(record.body, slot.size, "<f4") for record in column])
    rows, factors = choice
    width = slot.size // slot.shape[0]
    sent = np.stack([unpack_values(record.body, len(rows) * width, "<f4") for record in column])
    blocks = np.zeros((len(column), slot.shape[0], width), dtype=np.float32)
    with np.errstate(over="ignore"):
        blocks[:, rows] = sent.reshape(len(column), len(rows), width) * factors[:, None]
    return blocks.reshape(len(column), -1)
