"""Distances and inner products between updates, exact enough for updates that differ only a little.

A product of matrices is much faster than differences, but ||x||^2 + ||y||^2 - 2 x.y loses every digit
between long, similar vectors: in float32 such distances even turn negative. So products are formed in
float64, of updates as seen from one of them; and where even that loses digits, because a malicious
client is very far away, once more as seen from a client of the crowd.
"""

import torch
from torch import Tensor

PRODUCT_COLUMNS = 1024
"""Columns of one matrix product: several side by side fill the threads, whose number changes no bit."""
PRODUCT_ELEMENTS = 2**20

SAFE = 1e-3
"""A squared distance is trusted if it is at least this share of what it was subtracted from."""


def squared_distances(vectors: Tensor) -> Tensor:
    """Return ||x_i - x_j||^2 in float64, symmetric, and 0 just where two updates are equal.  # [K, K]

    Each is good to about 13 digits, however far away others are. Equal updates have equal rows.
    """
    cohort_size = len(vectors)
    square = torch.zeros(cohort_size, cohort_size, dtype=torch.float64)
    unknown = ~torch.eye(cohort_size, dtype=torch.bool)
    while bool(unknown.any()):
        centre = int(unknown.sum(dim=1).argmax())
        near = unknown[centre].clone()
        near[centre] = True
        rows = near.nonzero().flatten()
        found, safe = _seen_from(vectors, centre, rows)
        pairs = (rows[:, None], rows[None])
        known = safe & unknown[pairs]
        square[pairs] = torch.where(known, found, square[pairs])
        unknown[pairs] &= ~known
    first = (square == 0).to(torch.uint8).argmax(dim=1) if cohort_size else torch.arange(0)
    return square[first][:, first]


def _seen_from(vectors: Tensor, centre: int, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return squared distances between ``rows`` [R], and which of them are safe.  # [R, R] each"""
    gram = gram_around(vectors, centre, rows)
    lengths = gram.diagonal()
    sums = lengths[:, None] + lengths[None]
    found = sums - (gram + gram.T)
    own = rows == centre
    on_axis = own[:, None] | own[None]
    found = torch.where(on_axis, sums, found)  # nothing was subtracted
    return found, on_axis | (found >= SAFE * sums)


def gram_around(vectors: Tensor, centre: int, rows: Tensor | None = None) -> Tensor:
    """Return (x_i - x_c) . (x_j - x_c) in float64, for all or for the given rows.  # [R, R]"""
    if rows is not None and len(rows) == len(vectors):
        rows = None
    height = len(vectors) if rows is None else len(rows)
    depth = max(1, min(PRODUCT_COLUMNS, vectors.shape[1]))
    stack = max(1, min(PRODUCT_ELEMENTS // (height * depth), -(-vectors.shape[1] // depth)))
    stack = 2 ** (stack.bit_length() - 1)  # an even share for every thread
    scratch = torch.zeros(height, stack * depth, dtype=torch.float64)
    factors = scratch.view(height, stack, depth).transpose(0, 1)  # [S, R, D]
    half = height // 2  # the products below it are those beside it
    upper = torch.zeros(stack, half, height, dtype=torch.float64)
    lower = torch.zeros(stack, height - half, height - half, dtype=torch.float64)
    for start in range(0, vectors.shape[1], stack * depth):
        columns = slice(start, min(start + stack * depth, vectors.shape[1]))
        width = columns.stop - start
        block = vectors[:, columns] if rows is None else vectors[rows, columns]
        scratch[:, :width].copy_(block).sub_(vectors[centre, columns])
        scratch[:, width:] = 0
        upper.baddbmm_(factors[:, :half], factors.transpose(1, 2))
        lower.baddbmm_(factors[:, half:], factors[:, half:].transpose(1, 2))
    gram = torch.empty(height, height, dtype=torch.float64)
    gram[:half] = upper.sum(dim=0)
    gram[half:, :half] = gram[:half, half:].T
    gram[half:, half:] = lower.sum(dim=0)
    return (gram + gram.T) / 2


def central_gram(vectors: Tensor) -> Tensor:
    """Return inner products (x_i - x_c) . (x_j - x_c) for a client c amid the others, in float64.  # [K, K]

    Amid: its median distance to the others is at most ten times the least that any client has. So no
    minority, however far away, costs the crowd its digits.
    """
    centre = 0
    for _ in range(len(vectors)):
        gram = gram_around(vectors, centre)
        lengths = gram.diagonal()
        square = (lengths[:, None] + lengths[None] - 2 * gram).clamp(min=0)
        medians = square.median(dim=1).values
        if medians[centre] <= 100 * medians.min():
            break
        centre = int(medians.argmin())
    return gram
