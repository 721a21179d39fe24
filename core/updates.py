"""A cohort's updates: the matrix on which everything after local training works.

Its norms and sums are taken here, in float64 and by blocks of columns, so that memory stays bounded; no
result depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .layout import Layout

if TYPE_CHECKING:
    from .presence import Presence

EXACT_ELEMENTS = 2**20
"""Elements of one block in float64, which is written before it is read: small enough for a cache."""

NORM_ROWS, NORM_COLUMNS = 64, 8192  # few enough columns that one thread sums them


Forward = Callable[..., Tensor]
"""``(params, x, buffers=None) -> outputs``: see ``Context``."""

Gradient = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(params, x, y) -> gradient``: see ``Context``."""


@dataclass(frozen=True, eq=False)
class OwnExamples:
    """The examples that the server keeps for itself, which no client holds.

    Attributes:
        x: Inputs, as a model is given them.  # [n, ...]
        y: Labels, or whatever the loss takes.  # [n, ...]
    """

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Context:
    """What the server itself knows when it aggregates, besides the updates.

    Attributes:
        round: The round, from 0.
        params: The global parameters that the cohort received, float32.  # [P]
        layout: How the parameters lie in a vector.
        seed: The run's seed: a defense that draws does so from ``generator(seed, its name, round)``.
        root: The update that the server trained on its own examples in this round, float32; None where it
            has none (``root_examples`` of a scenario is 0).  # [P]
        forward: ``(params [L, P], x [n, ...], buffers [L, Q] = None) -> outputs [L, n, ...]``, float32: what
            L candidate models make of inputs, in evaluation mode and without gradients; without ``buffers``
            all have those that the cohort received. None unless a defense declares ``runs_models``.
        examples: The server's own; None unless it declares that, and the server has some.
        loss: ``(outputs [n, ...], y [n, ...]) -> []``: the mean loss that clients minimise; None likewise.
        blank: One input of zeros, of the shape and type that ``forward`` takes (tokens int64, else float32);
            None without it, and where the data set does not say its inputs' shape.  # [1, ...]
        gradient: ``(params [P], x [n, ...], y [n, ...]) -> [P]``, float32: the gradient of that loss at some
            parameters, in evaluation mode, with the buffers that the cohort received; None likewise.
    """

    round: int
    params: Tensor
    layout: Layout
    seed: int
    root: Tensor | None = None
    forward: Forward | None = None
    examples: OwnExamples | None = None
    loss: Callable[[Tensor, Tensor], Tensor] | None = None
    blank: Tensor | None = None
    gradient: Gradient | None = None


_NONE = torch.zeros(0, 0)
_NO_ROUNDS = torch.zeros(0, dtype=torch.int64)
_NO_FACTS = torch.zeros(0, 0, dtype=torch.float64)


@dataclass(frozen=True)
class Updates:
    """What the clients of one cohort send, all clients at once.

    Rows stand in ascending client id. Whoever gets an ``Updates`` leaves its tensors as they are.

    Attributes:
        vectors: Local minus global parameters, float32.  # [K, P]
        client_ids: Stable ids, strictly ascending, int64.  # [K]
        num_examples: Examples behind each update, as the client claims, int64.  # [K]
        expected_size: The public, expected number of clients in a cohort (q * N under Poisson
            sampling), above 0. Equals K unless given: a denominator that does not depend on who came.
        buffers: The clients' own floating buffers, float32.  # [K, Q]
        context: What the server knows besides; None outside a round.
        started: The round in which each client began, int64; that of the context unless given, or 0.  # [K]
        presence: Which coordinates each client has, where models are of several sizes; None: all of them.
            What a client does not have is exactly 0 in its row, and no vote: an average counts the clients
            that have a coordinate.
        facts: Single numbers beside each vector, as the client states them, float64; none of an algorithm
            that declares no ``facts``, or before whoever does not declare to see them.  # [K, F]

    Raises:
        ValueError: Shapes that do not fit, ids that do not ascend, or a row that is not 0 where its client
            has nothing.
    """

    vectors: Tensor
    client_ids: Tensor
    num_examples: Tensor
    expected_size: float = 0.0
    buffers: Tensor = _NONE
    context: Context | None = None
    started: Tensor = _NO_ROUNDS
    presence: Presence | None = None
    facts: Tensor = _NO_FACTS

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2:
            raise ValueError(f"vectors must be [K, P], got shape {tuple(self.vectors.shape)}")
        cohort = len(self.vectors)
        if len(self.client_ids) != cohort or len(self.num_examples) != cohort:
            raise ValueError(
                f"{cohort} rows need {cohort} client_ids and num_examples, "
                f"got {len(self.client_ids)} and {len(self.num_examples)}"
            )
        if cohort > 1 and not ascends(self.client_ids):
            raise ValueError(f"client_ids must ascend strictly, got {self.client_ids.tolist()}")
        if self.expected_size <= 0:
            object.__setattr__(self, "expected_size", float(max(cohort, 1)))
        if len(self.buffers) != cohort:
            object.__setattr__(self, "buffers", torch.zeros(cohort, 0))
        if len(self.facts) != cohort:
            object.__setattr__(self, "facts", torch.zeros(cohort, 0, dtype=torch.float64))
        if len(self.started) != cohort:
            round_ = self.context.round if self.context else 0
            object.__setattr__(self, "started", torch.full((cohort,), round_))
        if self.presence is not None:
            self._check_presence(self.presence)

    def _check_presence(self, presence: Presence) -> None:
        there = (len(presence), presence.levels.shape[1])
        if there != tuple(self.vectors.shape):
            raise ValueError(f"vectors {list(self.vectors.shape)} need such a presence, got {list(there)}")
        row = presence.intruder(self.vectors)
        if row is not None:
            raise ValueError(
                f"client {int(self.client_ids[row])} is of level {int(presence.level[row])}, and its row "
                "is not 0 in coordinates that this level does not have"
            )

    def __len__(self) -> int:
        return len(self.vectors)

    def with_vectors(self, vectors: Tensor) -> Updates:
        """Return the same cohort with other vectors [K, P]."""
        return replace(self, vectors=vectors)

    def with_facts(self, facts: Tensor | None) -> Updates:
        """Return the same cohort with these facts [K, F], or with none: itself where it has none."""
        if facts is None:
            return self if self.facts.shape[1] == 0 else replace(self, facts=self.facts[:, :0])
        return replace(self, facts=facts)

    def bare(self) -> Updates:
        """Return the same cohort without its presence: itself where it has none."""
        return self if self.presence is None else replace(self, presence=None)

    def rows(self, keep: Tensor | slice) -> Updates:
        """Return the clients where ``keep`` [K] is true (or of the given ascending row numbers, or slice).

        Where it is true of all, that is the cohort itself.
        """
        mask = keep if isinstance(keep, Tensor) and keep.dtype == torch.bool else None
        if mask is not None and len(mask) == len(self) and bool(mask.all()):
            return self
        return replace(
            self,
            vectors=self.vectors[keep],
            client_ids=self.client_ids[keep],
            num_examples=self.num_examples[keep],
            buffers=self.buffers[keep],
            started=self.started[keep],
            presence=None if self.presence is None else self.presence.rows(keep),
            facts=self.facts[keep],
        )


def concatenate(parts: list[Updates], expected_size: float) -> Updates:
    """Return the cohort made of ``parts`` with disjoint clients, in ascending client id.

    Raises:
        ValueError: No part at all, a client twice, or presence in some of the parts alone.
    """
    if not parts:
        raise ValueError("a cohort needs at least one part, got none")
    parts = sorted((p for p in parts if len(p)), key=lambda p: int(p.client_ids[0])) or parts[:1]
    if len(parts) == 1:
        return replace(parts[0], expected_size=expected_size)
    ids = torch.cat([p.client_ids for p in parts])
    order = slice(None) if ascends(ids) else ids.argsort()  # parts may interleave
    known = [p.presence for p in parts if p.presence is not None]
    if known and len(known) < len(parts):
        raise ValueError(f"all parts of a cohort need a presence, or none; got {len(known)} of {len(parts)}")
    together = known[0].joined(known[1:]) if known else None
    return Updates(
        vectors=torch.cat([p.vectors for p in parts])[order],
        client_ids=ids[order],
        num_examples=torch.cat([p.num_examples for p in parts])[order],
        expected_size=expected_size,
        buffers=torch.cat([p.buffers for p in parts])[order],
        started=torch.cat([p.started for p in parts])[order],
        presence=together and replace(together, level=together.level[order]),
        facts=torch.cat([p.facts for p in parts])[order],
    )


def ascends(ids: Tensor) -> bool:
    """Return whether int64 ids ascend strictly; neighbours are compared, since their difference can wrap."""
    return bool((ids[1:] > ids[:-1]).all())


def all_finite(values: Tensor) -> bool:
    """Return whether no value is NaN or infinity, in one pass that writes nothing."""
    return values.numel() == 0 or all(bool(end.isfinite()) for end in values.aminmax())


def finite_rows(updates: Updates) -> Tensor:
    """Return whether each row is finite; a sum overflows only where a look at every entry is due.  # [K]"""
    finite = updates.vectors.sum(dim=1).isfinite() & updates.buffers.sum(dim=1).isfinite()
    for row in (~finite).nonzero().flatten().tolist():
        finite[row] = updates.vectors[row].isfinite().all() & updates.buffers[row].isfinite().all()
    return finite & updates.facts.isfinite().all(dim=1) if updates.facts.shape[1] else finite


def exact_blocks(
    vectors: Tensor, rows: Tensor | None = None, width: int | None = None
) -> Iterator[tuple[slice, Tensor]]:
    """Yield (columns, their values [K, B] in float64) from left to right, of all or of the given rows.

    The values stand in one scratch block, to be changed at will: they are gone at the next step.

    Args:
        vectors: The matrix.  # [K, P]
        rows: Which rows; None for all.
        width: Columns of a block (B); None lets their number shrink as rows grow.
    """
    height = len(vectors) if rows is None else len(rows)
    width = max(1, EXACT_ELEMENTS // max(1, height)) if width is None else width
    size = height * min(width, vectors.shape[1])
    scratch = torch.empty(size, dtype=torch.float64, device=vectors.device)
    for start in range(0, vectors.shape[1], width):
        columns = slice(start, min(start + width, vectors.shape[1]))
        block = scratch[: height * (columns.stop - start)].view(height, columns.stop - start)
        part = vectors[:, columns]
        block.copy_(part if rows is None else part.index_select(0, rows))
        yield columns, block


def row_norms(vectors: Tensor, centre: Tensor | None = None) -> Tensor:
    """Return each row's L2 norm, or its distance to ``centre`` [P], in float64.  # [K]

    A row's norm has the same bits whatever the other rows are. float32 values of 1e30 do not overflow.
    """
    return torch.cat([_norms(rows, centre) for rows in torch.split(vectors, NORM_ROWS)])


def _norms(vectors: Tensor, centre: Tensor | None) -> Tensor:
    squares = torch.zeros(len(vectors), dtype=torch.float64, device=vectors.device)
    if centre is None:
        for part in torch.split(vectors, NORM_COLUMNS, dim=1):
            squares += torch.linalg.vector_norm(part, dim=1, dtype=torch.float64).square()
        return squares.sqrt()
    for columns, block in exact_blocks(vectors, width=NORM_COLUMNS):
        squares += block.sub_(centre[columns]).square_().sum(dim=1)
    return squares.sqrt()


def weighted_sum(vectors: Tensor, coefficients: Tensor) -> Tensor:
    """Return sum_i c_i x_i, accumulated in float64 over the clients whose c_i is not 0.  # [P]

    With float32 updates and whole numbers for coefficients every product is exact.
    """
    c = coefficients.to(torch.float64)
    chosen = c.nonzero().flatten()
    if 2 * len(chosen) < len(c):  # else picking them costs more than they save
        return _weighted_sum(vectors, c, chosen)
    total = _weighted_sum(vectors, c, None)
    if len(chosen) < len(c) and not bool(total.isfinite().all()):  # 0 times infinity is no number
        total = _weighted_sum(vectors, c, chosen)
    return total


def _weighted_sum(vectors: Tensor, coefficients: Tensor, rows: Tensor | None) -> Tensor:
    c = (coefficients if rows is None else coefficients[rows])[:, None]  # [K, 1]
    total = torch.empty(vectors.shape[1], dtype=torch.float64, device=vectors.device)
    alike = bool((c == c[:1]).all())
    for columns, block in exact_blocks(vectors, rows):
        torch.sum(block if alike else block.mul_(c), dim=0, out=total[columns])
    return total.mul_(c[0]) if alike and len(c) else total
