"""Mathematics down the columns of [K, P], in blocks of columns, so that memory stays bounded.

Everything here is deterministic: no result depends on the number of threads.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]

BLOCK_ELEMENTS = 2**20
"""Elements of one block: small enough for a cache, large enough to hide Python."""


def column_blocks(vectors: Tensor) -> Iterator[tuple[slice, Array]]:
    """Yield (columns, their values [K, B]) from left to right, as views of ``vectors`` [K, P]."""
    matrix = vectors.detach().numpy()
    width = max(1, BLOCK_ELEMENTS // max(1, len(matrix)))
    for start in range(0, matrix.shape[1], width):
        columns = slice(start, start + width)
        yield columns, matrix[:, columns]


def weighted_sum(vectors: Tensor, coefficients: Tensor) -> Tensor:
    """Return sum_i c_i x_i, accumulated in float64 in ascending client order.  # [P]

    With float32 updates and whole numbers for coefficients every product is exact.
    """
    c = coefficients.to(torch.float64).numpy()[:, None]  # [K, 1]
    total = np.zeros(vectors.shape[1])
    for columns, block in column_blocks(vectors):
        total[columns] = (c * block).sum(axis=0)  # numpy adds row after row
    return torch.from_numpy(total)


def from_sorted(vectors: Tensor, pick: Callable[[Array], Array]) -> Tensor:
    """Return ``pick`` of every coordinate's K values in ascending order.  # [P]

    numpy sorts short contiguous rows with vector instructions and without indices: about eight
    times as fast as ``torch.sort`` along the first dimension, in a fraction of its memory.

    Args:
        vectors: At least one row, no NaN.  # [K, P]
        pick: From sorted values [B, K] to one value each [B].
    """
    picked = torch.empty(vectors.shape[1], dtype=vectors.dtype)
    out = picked.numpy()
    for columns, block in column_blocks(vectors):
        ordered = np.array(block.T, order="C")  # [B, K]
        ordered.sort(axis=1)
        out[columns] = pick(ordered)
    return picked
