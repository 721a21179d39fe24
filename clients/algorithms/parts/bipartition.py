"""Two groups of vectors whose most alike pair across is as unlike as it can be."""

import torch
from torch import Tensor

from ....core.updates import exact_blocks


def cosines_of(rows: Tensor) -> Tensor:
    """Return the cosines of all pairs of vectors [K, P], float64; 0 of a vector of length 0.  # [K, K]"""
    gram = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for _, block in exact_blocks(rows):
        gram.addmm_(block, block.T)
    lengths = gram.diagonal().sqrt().clamp(min=1e-150)  # of a row that is 0 the products are 0
    return gram / (lengths * lengths[:, None])


def apart(cosines: Tensor) -> tuple[Tensor, float]:
    """Return the bipartition with the smallest largest cosine across, and that cosine.

    A tree is grown from vector 0 along the largest cosine that leaves it (Prim). Where that is the smallest
    of all steps, what is in the tree so far is one group: any other bipartition is crossed by one of the
    tree's steps, none of which is smaller. It is what single linkage cuts last, exact for any K.

    Args:
        cosines: Symmetric, K at least 2.  # [K, K]

    Returns:
        Who is in the group without vector 0, bool [K], and the largest cosine across.
    """
    size = len(cosines)
    inside = torch.zeros(size, dtype=torch.bool)
    inside[0] = True
    nearest, best, other = cosines[0].clone(), float("inf"), ~inside
    for _ in range(size - 1):
        step, new = nearest.masked_fill(inside, -float("inf")).max(dim=0)
        if float(step) < best:
            best, other = float(step), ~inside
        inside[new] = True
        nearest = torch.maximum(nearest, cosines[new])
    return other, best


def within(cosines: Tensor, other: Tensor) -> float:
    """Return the mean cosine of all pairs in the same group; bool [K], K at least 3, tells the groups."""
    pairs = torch.triu(other[:, None] == other, diagonal=1)
    return float(cosines[pairs].mean())
