"""Directions q for which L q has many zeros: the sparse columns that a basis L hides.

Of a matrix E [l, r] with many zeros only an orthonormal basis L of its columns is known: E = L Q. Its columns
are searched one by one, many starts at a time, and each that is found says of itself whether it is one: no
other direction is 0 on most of its zeros.

Source: the search from many starts: Qu, Sun, Wright. Finding a Sparse Vector in a Subspace: Linear Sparsity
Using Alternating Directions. NeurIPS 2014, Algorithm 1. arXiv:1412.4659. Sampling: Dimitrov, Baader, Mueller,
Vechev. SPEAR. NeurIPS 2024, Section 3.3. arXiv:2403.03945. How what is found is refined and proven is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import normalize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    Search = Callable[[Tensor, int], Tensor]  # (known [k, r], rounds before) -> directions [n, r]

CLEAR = 10.0  # standard deviations of its noise below which an entry is taken for 0
THRESHOLDS = 0.4, 2.0  # of soft thresholding: the range of those of the starts
NEAR = 0.02  # 1 - |cos| below which one of two starts is enough
SMALL = 0.003, 0.03, 0.1  # in units of the mean |L q|: what a direction is made 0 on at first
SHARE = 0.1  # of the rows, beside the rank, on which a column is 0 at least
LOOSE = 1e-2  # 1 - leverage of a row below which it is taken to be needed for a direction
ALIGNED = 3  # further rows that are 0 at once for the same mixture of two directions, where it is a column
ALIKE = 1e-6  # 1 - |cos| below which two directions are one


@dataclass(frozen=True)
class Basis:
    """What is searched.

    Attributes:
        left: L, its columns orthonormal, float64.  # [l, r]
        sizes: By what a direction's entries are divided before they reach the noise.  # [r]
        noise: The standard deviation of the noise of each row, before that.  # [l]
    """

    left: Tensor
    sizes: Tensor
    noise: Tensor

    def zeros(self, directions: Tensor) -> Tensor:
        """Return where L q is 0 up to noise, for directions [n, r], bool.  # [n, l]"""
        spread = (directions / self.sizes).norm(dim=1, keepdim=True) * self.noise
        return torch.le((directions @ self.left.T).abs(), CLEAR * spread)


def find_columns(
    basis: Basis,
    searches: Sequence[Search],
    certain: Callable[[Tensor], bool],
    over: Callable[[], bool],
) -> tuple[Tensor, int]:
    """Return proven columns, at most r, and after how many rounds all were found or time was over.

    Args:
        basis: L.
        searches: Where directions come from, all of them in every round.
        certain: Whether directions [r, r] are the true ones. Where they are not, the one of fewest zeros is
            searched again; every third round tries directions that are not proven, too.
        over: Whether time is over.

    Returns:
        The directions [k, r], and the number of rounds.
    """
    rank = basis.left.shape[1]
    if rank == 1:
        return torch.ones(1, 1, dtype=torch.float64), 0
    known = basis.left.new_zeros(0, rank)
    rounds = 0
    while len(known) < rank and not (rounds and over()):
        starts = torch.cat([search(known, rounds) for search in searches])
        strict = rounds % 3 != 2
        found = torch.cat([known, proven(basis, distinct(starts, NEAR), strict)])
        trial = independent(settled(basis, independent(most_zeros(basis, distinct(found, ALIKE)))))
        rounds += 1
        if len(trial) == rank and certain(trial):
            return trial, rounds
        known = trial[: rank - 1] if strict else known
    return known, rounds


def settled(basis: Basis, directions: Tensor) -> Tensor:
    """Return columns [n, r] as they follow from all of their zeros.  # [n, r]"""
    for _ in range(2):
        directions = torch.linalg.eigh(_squares(basis.left, basis.zeros(directions).double())).eigenvectors[
            ..., 0
        ]
    return directions


def blurred_rows(basis: Basis, count: int, known: Tensor, stream: np.random.Generator) -> Tensor:
    """Return directions to start from: blurred rows of L, away from the known ones [k, r].  # [count, r]"""
    rows, rank = basis.left.shape
    chosen = normalize(basis.left[torch.from_numpy(stream.integers(rows, size=count))], dim=1)
    blur = torch.from_numpy(stream.standard_normal((count, rank))) * (0.3 / math.sqrt(rank))
    starts = normalize(chosen + blur, dim=1)
    if len(known):
        span = torch.linalg.qr(known.T).Q  # [r, k]
        starts = normalize(starts - (starts @ span) @ span.T, dim=1)
    return starts


def learned(basis: Basis, doubt: Tensor, stream: np.random.Generator, known: Tensor, rounds: int) -> Tensor:
    """Return directions of sparse L q, from 4 r starts or 64.  # [n, r]

    Each start has a threshold of its own: none is right for all columns.

    Args:
        basis: L.
        doubt: How little each row is expected to tell columns apart; every second round leaves out those
            that tell least, at first more of them.  # [l]
        stream: Where starts come from.
        known: Directions that are not wanted.  # [k, r]
        rounds: How many rounds went before.
    """
    size, rank = basis.left.shape
    kept = size if rounds % 2 == 0 else max(int(size * stream.uniform(0.25, 0.8)), min(2 * rank, size))
    rows, count = doubt.argsort()[:kept], max(64, 4 * rank)
    left, change = torch.linalg.qr(basis.left[rows])
    part = Basis(left, basis.sizes, basis.noise[rows])
    starts = normalize(blurred_rows(basis, count, known, stream) @ change.T, dim=1)
    low, high = np.log(THRESHOLDS)
    thresholds = torch.from_numpy(np.exp(stream.uniform(low, high, (count, 1))))
    found = reweighted(part, distinct(sparsest(part, descend(part, starts, thresholds)), NEAR))
    return normalize(torch.linalg.solve_triangular(change, found.T, upper=True).T, dim=1)


def descend(basis: Basis, directions: Tensor, thresholds: Tensor, steps: int = 60) -> Tensor:
    """Return directions [n, r] after alternating steps to sparser L q.  # [n, r]

    ``thresholds`` [n, 1] are of soft thresholding, in units of an entry's root mean square.
    """
    scale = math.sqrt(len(basis.left))
    for _ in range(steps):
        values = scale * (directions @ basis.left.T)  # [n, l]
        directions = normalize((values - values.clamp(-thresholds, thresholds)) @ basis.left, dim=1)
    return directions


def reweighted(basis: Basis, directions: Tensor, steps: int = 20, start: float = 0.3) -> Tensor:
    """Return directions [n, r] after steps of reweighted least squares to a sparse L q.  # [n, r]"""
    identity = torch.eye(directions.shape[1], dtype=directions.dtype)
    for step in range(steps):
        values = directions @ basis.left.T
        values = values / values.abs().mean(dim=1, keepdim=True)
        weights = 1 / (values.square() + (start * 0.75**step) ** 2)  # [n, l]
        squares = _squares(basis.left, weights)
        ridge = 1e-12 * squares.diagonal(dim1=1, dim2=2).sum(dim=1)
        factor = torch.linalg.cholesky_ex(squares + ridge[:, None, None] * identity).L
        directions = normalize(torch.cholesky_solve(directions[..., None], factor)[..., 0], dim=1)
    return directions.nan_to_num()


def sampled(basis: Basis, count: int, stream: np.random.Generator) -> Tensor:
    """Return of ``count`` directions, each 0 on r - 1 random rows of L, the sparsest eighth.  # [n, r]"""
    rows, rank = basis.left.shape
    chosen = torch.from_numpy(stream.random((count, rows)).argsort(axis=1)[:, : rank - 1].copy())
    part = basis.left[chosen]
    found = torch.linalg.eigh(part.mT @ part).eigenvectors[..., 0]
    values = (found @ basis.left.T).abs()
    small = (values < SMALL[0] * values.mean(dim=1, keepdim=True)).sum(dim=1)
    return distinct(found[small.argsort(descending=True)], NEAR)[: max(count // 8, 1)]


def proven(basis: Basis, directions: Tensor, strict: bool = True, part: bool = True) -> Tensor:
    """Return the columns that directions [n, r] lead to; if ``strict`` those alone that are proven.  # [k, r]

    A mixture of k columns is 0 where all of them are, and on k - 1 further rows. Each of these rows alone
    keeps it from other mixtures of the same: without it, more than one direction is 0 on the rest. No row is
    as important to a column. Where a mixture of two is found, the two are searched between (``part``).
    """
    rows, rank = basis.left.shape
    found = refine(basis, directions)
    zeros = basis.zeros(found)  # [n, l]
    squares = torch.linalg.eigh(_squares(basis.left, zeros.double()))
    values, vectors = squares.eigenvalues[:, 1:], squares.eigenvectors[..., 1:]
    scaled = vectors / values.clamp(min=1e-30).sqrt()[:, None]  # [n, r, r - 1]
    leverage = (basis.left @ scaled).square().sum(dim=2)  # [n, l]; 1 where a row alone excludes a direction
    needed = zeros & (leverage > 1 - LOOSE)
    loose = (basis.zeros(vectors[..., 0]) | ~zeros).all(dim=1)  # another direction is 0 there too
    mixed = needed.any(dim=1) | loose
    columns = found[(~mixed | (not strict)) & (zeros.sum(dim=1) > rank + SHARE * rows)]
    if not part or not bool(mixed.any()) or rows <= ALIGNED:
        return columns
    rest = (zeros & ~needed)[mixed]
    pairs = torch.linalg.eigh(_squares(basis.left, rest.double())).eigenvectors
    parts = between(basis, pairs[..., 0], pairs[..., 1], rest)
    return torch.cat([columns, proven(basis, parts.flatten(0, 1), strict, part=False)])


def refine(basis: Basis, directions: Tensor) -> Tensor:
    """Return directions [n, r] made exact.  # [n, r]

    Each becomes the one of least square on the rows where it is small, and then on those where it is 0 up to
    noise. Where these are few, more rows are taken to be small.
    """
    best = directions
    rows, rank = basis.left.shape
    for small in SMALL:
        few = basis.zeros(best).sum(dim=1) <= rank + SHARE * rows  # [n]
        values = (directions[few] @ basis.left.T).abs()
        least = values.kthvalue(min(rank + 1, rows), dim=1, keepdim=True).values
        mask = values <= torch.maximum(least, small * values.mean(dim=1, keepdim=True))
        for _ in range(3):
            found = torch.linalg.eigh(_squares(basis.left, mask.double())).eigenvectors[..., 0]
            mask = basis.zeros(found)
        more = mask.sum(dim=1) > basis.zeros(best[few]).sum(dim=1)
        best = best.masked_scatter(few[:, None], torch.where(more[:, None], found, best[few]))
    return best


def between(basis: Basis, first: Tensor, second: Tensor, both: Tensor) -> Tensor:
    """Return the two mixtures of each two directions [n, r] that are 0 on most further rows.  # [n, 2, r]

    ``both`` says where all mixtures are 0, bool [n, l]. A row is 0 for one mixture, by its angle; many rows
    of the same angle are a column's.
    """
    angles = torch.atan2(-(first @ basis.left.T), second @ basis.left.T) % torch.pi  # [n, l]
    angles = angles.masked_fill(both, torch.inf).sort(dim=1).values
    spread = (angles[:, ALIGNED:] - angles[:, :-ALIGNED]).nan_to_num(torch.inf, posinf=torch.inf)
    best = spread.argmin(dim=1, keepdim=True)
    one = angles.gather(1, best + ALIGNED // 2)
    other = spread.masked_fill((angles[:, :-ALIGNED] - one).abs() < 1e-2, torch.inf).argmin(
        dim=1, keepdim=True
    )
    two = angles.gather(1, other + ALIGNED // 2)
    turn = torch.stack([one, two], dim=1).nan_to_num(posinf=0.0)  # [n, 2, 1]
    return turn.cos() * first[:, None] + turn.sin() * second[:, None]


def most_zeros(basis: Basis, directions: Tensor) -> Tensor:
    """Return directions [n, r] ordered by the zeros of L q, the most first.  # [n, r]"""
    return directions[basis.zeros(directions).sum(dim=1).argsort(descending=True, stable=True)]


def sparsest(basis: Basis, directions: Tensor) -> Tensor:
    """Return directions [n, r] ordered by sum |L q|, the least first.  # [n, r]"""
    return directions[(directions @ basis.left.T).abs().sum(dim=1).argsort()]


def distinct(directions: Tensor, alike: float) -> Tensor:
    """Return those directions [n, r] of which no earlier one is alike, 1 - |cos| < ``alike``.  # [k, r]"""
    close = (directions @ directions.T).abs() > 1 - alike  # [n, n]
    left = torch.ones(len(directions), dtype=torch.bool)
    first = []
    for place in range(len(directions)):
        if left[place]:
            first.append(place)
            left &= ~close[place]
    return directions[first]


def independent(directions: Tensor) -> Tensor:
    """Return the directions [n, r] that have a part above 1e-3 outside the span of the earlier.  # [k, r]"""
    chosen: list[Tensor] = []
    span = directions.new_zeros(0, directions.shape[1])
    for direction in directions:
        rest = direction - (span @ direction) @ span
        rest = rest - (span @ rest) @ span
        if len(span) < directions.shape[1] and rest.norm() > 1e-3:
            chosen.append(direction)
            span = torch.cat([span, normalize(rest, dim=0)[None]])
    return torch.stack(chosen) if chosen else directions[:0]


def _squares(left: Tensor, weights: Tensor) -> Tensor:
    """Return L^T diag(w) L for L [l, r] and each of the weights [n, l].  # [n, r, r]"""
    return (weights[:, None, :] * left.T) @ left
