"""Squared distances between updates, exact enough for updates that differ only a little.

In float64 and by differences: the Gram trick in float32 gives negative distances between long,
similar vectors.
"""

import torch
from torch import Tensor

from .columns import column_blocks


def squared_distances(vectors: Tensor) -> Tensor:
    """Return ||x_i - x_j||^2 in float64, with a zero diagonal.  # [K, K]"""
    cohort_size = len(vectors)
    square = torch.zeros(cohort_size, cohort_size, dtype=torch.float64)
    if cohort_size < 2:
        return square
    pairs = torch.zeros(cohort_size * (cohort_size - 1) // 2, dtype=torch.float64)
    for _, block in column_blocks(vectors):
        pairs += torch.pdist(torch.from_numpy(block).to(torch.float64)).square()
    above, right = torch.triu_indices(cohort_size, cohort_size, offset=1)
    square[above, right] = pairs
    square[right, above] = pairs
    return square
