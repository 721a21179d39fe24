"""How rows lie to one vector: the middle of a crowd, cosines and distances to it.

In float64, by blocks of columns, whatever the rows' own type.
"""

import numpy as np
import torch
from torch import Tensor

from .columns import Array, column_blocks, from_sorted

LEAST_NORM = 1e-12
"""Vectors shorter than this have no direction: their cosine to anything is 0."""


def middle_of(rows: Tensor) -> Tensor:
    """Return the median of each coordinate, between the two middle values of an even number.  # [P]"""
    low, high = (len(rows) - 1) // 2, len(rows) // 2

    def middle(ordered: Array) -> Array:
        values: Array = ordered[:, low] / 2 + ordered[:, high] / 2  # halved first: no overflow
        return values

    return from_sorted(rows, middle)


def cosines_to(rows: Tensor, centre: Tensor) -> Array:
    """Return cos(x_i, c) in float64, 0 where either is shorter than 1e-12.  # [K]"""
    dots, squares, square = np.zeros(len(rows)), np.zeros(len(rows)), 0.0
    direction = centre.detach().numpy()
    for columns, block in column_blocks(rows):
        x, c = block.astype(np.float64), direction[columns].astype(np.float64)
        dots += np.einsum("ij,j->i", x, c)
        squares += np.einsum("ij,ij->i", x, x)
        square += float(np.einsum("j,j", c, c))
    lengths, length = np.sqrt(squares), np.sqrt(square)
    known = (lengths >= LEAST_NORM) & (length >= LEAST_NORM)
    cosines: Array = np.divide(dots, lengths * length, out=np.zeros(len(rows)), where=known)
    return cosines


def distances_to(rows: Tensor, centre: Tensor) -> Array:
    """Return ||x_i - c|| in float64.  # [K]"""
    squares, point = np.zeros(len(rows)), centre.detach().numpy()
    for columns, block in column_blocks(rows):
        away = block.astype(np.float64) - point[columns]
        squares += np.einsum("ij,ij->i", away, away)
    return np.sqrt(squares)


def rows_of(matrix: Tensor, keep: Array) -> Tensor:
    """Return the rows where ``keep`` [K] is true; the matrix itself where all are."""
    return matrix if keep.all() else matrix[torch.from_numpy(np.flatnonzero(keep))]
