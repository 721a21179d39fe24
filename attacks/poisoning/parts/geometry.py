"""Distances between the updates of a cohort, and sums along them.

In float64 and in blocks of columns: bounded memory, and the same bits for any number of threads.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .moments import BLOCK_ELEMENTS, Array


def blocks(vectors: Tensor) -> Iterator[tuple[slice, Array]]:
    """Yield (columns, their values [K, B] in float64) from left to right."""
    matrix: Array = vectors.detach().numpy()
    width = max(1, BLOCK_ELEMENTS // max(1, len(matrix)))
    for start in range(0, matrix.shape[1], width):
        columns = slice(start, start + width)
        yield columns, matrix[:, columns].astype(np.float64)


def squared_distances(vectors: Tensor) -> Tensor:
    """Return ||x_i - x_j||^2 by differences, with a zero diagonal.  # [K, K]"""
    size = len(vectors)
    square = torch.zeros(size, size, dtype=torch.float64)
    if size < 2:
        return square
    pairs = torch.zeros(size * (size - 1) // 2, dtype=torch.float64)
    for _, block in blocks(vectors):
        pairs += torch.pdist(torch.from_numpy(block)).square()
    above, right = torch.triu_indices(size, size, offset=1)
    square[above, right] = pairs
    square[right, above] = pairs
    return square


def along(vectors: Tensor, centre: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Return (||x_i - centre||^2, <x_i - centre, direction>) of every row.  # [K], [K]"""
    middle, way = centre.numpy(), direction.numpy()
    square, inner = np.zeros(len(vectors)), np.zeros(len(vectors))
    for columns, block in blocks(vectors):
        block -= middle[columns]
        square += (block * block).sum(axis=1)
        inner += (block * way[columns]).sum(axis=1)
    return torch.from_numpy(square), torch.from_numpy(inner)


def combination(vectors: Tensor, centre: Tensor, coefficients: Tensor) -> Tensor:
    """Return sum_i c_i (x_i - centre).  # [P]"""
    middle, c = centre.numpy(), coefficients.numpy()[:, None]
    total = np.zeros(vectors.shape[1])
    for columns, block in blocks(vectors):
        total[columns] = (c * (block - middle[columns])).sum(axis=0)
    return torch.from_numpy(total)
