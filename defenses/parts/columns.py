"""Mathematics down the columns of [K, P], in blocks of columns, so that memory stays bounded.

Everything here is deterministic: no result depends on the number of threads.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.matrices import like
from ...core.updates import exact_blocks

Array = NDArray[Any]
Even = Literal["mean", "lower"]

BLOCK_ELEMENTS = 2**20
"""Elements of one block: small enough for a cache, large enough to hide Python."""


def column_blocks(vectors: Tensor) -> Iterator[tuple[slice, Array]]:
    """Yield (columns, their values [K, B]) from left to right, as views of ``vectors`` [K, P]."""
    matrix = vectors.detach().numpy()
    width = max(1, BLOCK_ELEMENTS // max(1, len(matrix)))
    for start in range(0, matrix.shape[1], width):
        columns = slice(start, start + width)
        yield columns, matrix[:, columns]


def mix(vectors: Tensor, coefficients: Tensor) -> Tensor:
    """Return C X, multiplied in float64, in the type of the updates.  # [R, P]

    Args:
        vectors: X.  # [K, P]
        coefficients: C: one row for each row to be made, float64.  # [R, K]
    """
    mixed = like(vectors, len(coefficients))
    for columns, block in exact_blocks(vectors):
        mixed[:, columns] = coefficients @ block
    return mixed


def from_sorted(vectors: Tensor, pick: Callable[[Array], Array]) -> Tensor:
    """Return ``pick`` of every coordinate's K values in ascending order.  # [P]

    numpy sorts short contiguous rows with vector instructions and without indices: about eight
    times as fast as ``torch.sort`` along the first dimension, in a fraction of its memory.

    Args:
        vectors: At least one row, no NaN.  # [K, P]
        pick: From sorted values [B, K] to one value each [B].
    """
    return _each_block(vectors, lambda block: pick(_sorted(block)))


def middle(ordered: Array, even: Even) -> Array:
    """Return the median of each row of sorted values [B, K]; ``even`` as the plug-ins have it.  # [B]"""
    low, high = (ordered.shape[1] - 1) // 2, ordered.shape[1] // 2
    if even == "lower" or low == high:
        return ordered[:, low].copy()
    return np.asarray(ordered[:, low] / 2 + ordered[:, high] / 2)  # halved first: no overflow


def mean_around_median(vectors: Tensor, count: int, even: Even, rows: Tensor | None = None) -> Tensor:
    """Return each coordinate's mean of the ``count`` values nearest to its median.  # [P]

    Of values equally near to it, those of the first clients count.

    Args:
        vectors: At least ``count`` rows, no NaN.  # [K, P]
        count: Values to average, at least 1.
        even: What an even number of values takes for its median: the mean of the middle two, or the lower.
        rows: The rows that take part, ascending; None for all.
    """
    chosen = None if rows is None else rows.numpy()

    def near(block: Array) -> Array:
        values = block if chosen is None else block[chosen]
        ordered = _sorted(values)
        centre, start, tied = _nearest_run(ordered, count, even)
        within = np.arange(ordered.shape[1]) - start[:, None]  # [B, K], 0 to count - 1 in the run
        run = (within >= 0) & (within < count)
        total = np.where(run, ordered, 0).sum(axis=1, dtype=np.float64)
        if len(tied):
            total[tied] = _first_nearest(values[:, tied], centre[tied], count)
        return np.asarray(total / count)

    return _each_block(vectors, near)


def _nearest_run(ordered: Array, count: int, even: Even) -> tuple[Array, Array, Array]:
    """Return each row's median, where the ``count`` values nearest to it begin, and which rows have ties.

    In float64: in float32 the distances of values that nearly agree would be equal.

    Args:
        ordered: Each coordinate's values, ascending.  # [B, K]
        count: Values of a run, at least 1.
        even: As of ``middle``.
    """
    height, spare = len(ordered), ordered.shape[1] - count
    centre = middle(ordered.astype(np.float64), even)  # [B]
    low = centre[:, None] - ordered[:, : spare + 1]  # [B, K - count + 1], how far a run's ends are
    high = ordered[:, count - 1 :] - centre[:, None]
    reach = np.maximum(low, high)
    start, each = reach.argmin(axis=1), np.arange(height)
    bound = reach[each, start]
    before = (start > 0) & (low[each, np.maximum(start - 1, 0)] <= bound)
    after = (start < spare) & (high[each, np.minimum(start + 1, spare)] <= bound)
    return centre, start, np.flatnonzero(before | after)


def _first_nearest(values: Array, centre: Array, count: int) -> Array:
    """Return the sum of the ``count`` values nearest to ``centre`` [B], ties in client order.  # [B]"""
    nearest = np.argsort(np.abs(values - centre), axis=0, kind="stable")[:count]
    return np.asarray(np.take_along_axis(values, nearest, axis=0).sum(axis=0, dtype=np.float64))


def _sorted(block: Array) -> Array:
    ordered = np.array(block.T, order="C")  # [B, K]
    ordered.sort(axis=1)
    return ordered


def _each_block(vectors: Tensor, function: Callable[[Array], Array]) -> Tensor:
    """Return ``function`` of every block of columns, side by side on as many threads as torch has.  # [P]"""
    found = torch.empty(vectors.shape[1], dtype=vectors.dtype)
    out, blocks = found.numpy(), list(column_blocks(vectors))

    def run(part: tuple[slice, Array]) -> None:
        out[part[0]] = function(part[1])

    workers = min(torch.get_num_threads(), len(blocks))
    if workers < 2:
        for part in blocks:
            run(part)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(run, blocks))
    return found
