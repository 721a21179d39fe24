"""A cohort's updates: the matrix on which everything after local training works."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .layout import Layout

_RUN = 1024  # squares that are summed in float32
_TINY = 1e-12  # norms below are not left to float32
_BLOCK = 1 << 17  # elements of a block of columns in float64: 1 MiB


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
    """

    round: int
    params: Tensor
    layout: Layout
    seed: int
    root: Tensor | None = None


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

    Raises:
        ValueError: Shapes that do not fit, ids that do not ascend.
    """

    vectors: Tensor
    client_ids: Tensor
    num_examples: Tensor
    expected_size: float = 0.0
    buffers: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    context: Context | None = None

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2:
            raise ValueError(f"vectors must be [K, P], got shape {tuple(self.vectors.shape)}")
        cohort = len(self.vectors)
        if len(self.client_ids) != cohort or len(self.num_examples) != cohort:
            raise ValueError(
                f"{cohort} rows need {cohort} client_ids and num_examples, "
                f"got {len(self.client_ids)} and {len(self.num_examples)}"
            )
        if cohort > 1 and not bool((self.client_ids.diff() > 0).all()):
            raise ValueError(f"client_ids must ascend strictly, got {self.client_ids.tolist()}")
        if self.expected_size <= 0:
            object.__setattr__(self, "expected_size", float(max(cohort, 1)))
        if len(self.buffers) != cohort:
            object.__setattr__(self, "buffers", torch.zeros(cohort, 0))

    def __len__(self) -> int:
        return len(self.vectors)

    def with_vectors(self, vectors: Tensor) -> "Updates":
        """Return the same cohort with other vectors [K, P]."""
        return replace(self, vectors=vectors)

    def rows(self, keep: Tensor) -> "Updates":
        """Return the clients where ``keep`` [K] is true (or of the given ascending row numbers)."""
        return replace(
            self,
            vectors=self.vectors[keep],
            client_ids=self.client_ids[keep],
            num_examples=self.num_examples[keep],
            buffers=self.buffers[keep],
        )


def concatenate(parts: list[Updates], expected_size: float) -> Updates:
    """Return the cohort made of ``parts`` with disjoint clients, in ascending client id.

    Raises:
        ValueError: No part at all, or a client twice.
    """
    if not parts:
        raise ValueError("a cohort needs at least one part, got none")
    parts = sorted((p for p in parts if len(p)), key=lambda p: int(p.client_ids[0])) or parts[:1]
    if len(parts) == 1:
        return replace(parts[0], expected_size=expected_size)
    ids = torch.cat([p.client_ids for p in parts])
    ascending = bool((ids.diff() > 0).all())
    order = slice(None) if ascending else ids.argsort()  # parts may interleave
    return Updates(
        vectors=torch.cat([p.vectors for p in parts])[order],
        client_ids=ids[order],
        num_examples=torch.cat([p.num_examples for p in parts])[order],
        expected_size=expected_size,
        buffers=torch.cat([p.buffers for p in parts])[order],
    )


def finite_rows(updates: Updates) -> Tensor:
    """Return whether each row is finite; a sum overflows only where a look at every entry is due.  # [K]"""
    finite = updates.vectors.sum(dim=1).isfinite() & updates.buffers.sum(dim=1).isfinite()
    for row in (~finite).nonzero().flatten().tolist():
        finite[row] = updates.vectors[row].isfinite().all() & updates.buffers[row].isfinite().all()
    return finite


def row_norms(vectors: Tensor) -> Tensor:
    """Return each row's L2 norm, summed in float64 without a copy of the matrix.  # [K]"""
    norms: Tensor = torch.linalg.vector_norm(vectors, dim=1, dtype=torch.float64)
    return norms


def quick_norms(vectors: Tensor) -> Tensor:
    """Return each row's L2 norm, float64, to a few units of float32; several times as fast.  # [K]

    Runs of 1024 squares are summed in float32 and those sums in float64; a row in which float32 over- or
    underflows is done again by ``row_norms``.
    """
    shape = (len(vectors), vectors.shape[1] // _RUN, _RUN)
    whole = shape[1] * _RUN
    runs = torch.linalg.vector_norm(vectors[:, :whole].view(shape), dim=2)  # [K, runs]
    rest = torch.linalg.vector_norm(vectors[:, whole:], dim=1, dtype=torch.float64)  # [K]
    norms: Tensor = (runs.double().square_().sum(dim=1) + rest.square_()).sqrt_()
    odd = ~((norms > _TINY) & norms.isfinite())
    if bool(odd.any()):
        norms[odd] = row_norms(vectors[odd])
    return norms


def weighted_total(vectors: Tensor, weights: Tensor) -> Tensor:
    """Return sum_k w_k x_k in float64, by cache-sized blocks of columns.  # [P]"""
    total = torch.empty(vectors.shape[1], dtype=torch.float64)
    width = max(1, _BLOCK // max(1, len(vectors)))
    for start in range(0, vectors.shape[1], width):
        block = vectors[:, start : start + width].double()  # [K, B]
        torch.mv(block.t(), weights.to(torch.float64), out=total[start : start + width])
    return total


def weighted_sum(vectors: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return sum_k w_k x_k [P] and each row's L2 norm [K], in float64, by cache-sized blocks of columns."""
    total = torch.empty(vectors.shape[1], dtype=torch.float64)
    squares = torch.zeros(len(vectors), dtype=torch.float64)
    w = weights.to(torch.float64)
    width = max(1, _BLOCK // max(1, len(vectors)))
    for start in range(0, vectors.shape[1], width):
        block = vectors[:, start : start + width].double()  # [K, B]
        torch.mv(block.t(), w, out=total[start : start + width])
        squares += block.square_().sum(dim=1)
    return total, squares.sqrt()
