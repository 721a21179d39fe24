"""Means of rows in float64, finished block by block: of length P nothing is written but what is returned."""

import torch
from torch import Tensor

from ...core.matrices import like
from ...core.updates import exact_blocks, weighted_sum
from .memory import stored

MEAN_ELEMENTS = 5 * 2**17
"""Elements of one block in float64, of 5 MiB: what other processes use of a shared cache costs it less."""


def weighted_mean(vectors: Tensor, counts: Tensor, denominator: float) -> Tensor:
    """Return sum_i n_i x_i / d as ``stored`` keeps it, to the bit what ``weighted_sum`` makes of it.  # [P]

    Args:
        vectors: x, one row a client.  # [K, P]
        counts: n, at least 0, float64.  # [K]
        denominator: d, above 0.
    """
    if not len(counts) or not bool((counts > 0).all()):  # it leaves rows out that count nothing
        return stored(weighted_sum(vectors, counts) / denominator, vectors.dtype)
    found, most = vectors.new_empty(vectors.shape[1]), torch.finfo(vectors.dtype).max
    n = counts[:, None]  # [K, 1]
    alike = bool((n == n[:1]).all())
    for columns, block in exact_blocks(vectors, width=max(1, MEAN_ELEMENTS // len(vectors))):
        total = torch.sum(block if alike else block.mul_(n), dim=0)  # [B]
        total = total.mul_(n[0]) if alike and float(n[0]) != 1 else total
        found[columns] = total.div_(denominator).clamp_(-most, most)
    return found


def group_means(vectors: Tensor, members: Tensor, sizes: Tensor) -> Tensor:
    """Return the mean of each group of rows, in the type of the rows.  # [R, P]

    Args:
        vectors: The rows.  # [K, P]
        members: Which rows each group has, its first ``sizes`` entries; at least one group.  # [R, S]
        sizes: How many each one has, at least 1.  # [R]
    """
    found = like(vectors, len(members))
    places = [(sizes > place).nonzero().flatten() for place in range(int(sizes.max()))]  # whose groups
    rows = torch.cat([members[there, place] for place, there in enumerate(places)])
    for columns, block in exact_blocks(vectors, rows, max(1, MEAN_ELEMENTS // len(rows))):
        total, *others = torch.split(block, [len(there) for there in places])
        for there, part in zip(places[1:], others, strict=True):
            total.add_(part) if len(there) == len(total) else total.index_add_(0, there, part)
        found[:, columns] = total.div_(sizes[:, None])
    return found
