"""The levels that err least, in squares, on the values of a tensor: exact on a histogram.

Source: Bruce. Optimum Quantization. MIT 1965 (the dynamic program); as in Few-Bit Backward, arXiv:2202.00441.
"""

import numpy as np

from .packing import Array

_TOGETHER = 16  # rows whose costs [bins, bins] are held at once


def codebooks(block: Array, levels: int, bins: int) -> Array:
    """Return the best ascending levels of each row of a block [K, n], float32.  # [K, levels]

    Best among those that are the means of neighbouring bins of a histogram over the row's range. A level of
    no value repeats the one before it.
    """
    found = [_some(block[i : i + _TOGETHER], levels, bins) for i in range(0, len(block), _TOGETHER)]
    return np.concatenate([np.zeros((0, levels), np.float32), *found])


def _some(block: Array, levels: int, bins: int) -> Array:
    if not block.size:
        return np.zeros((len(block), levels), np.float32)
    counts, sums, size = _histogram(block, bins)
    edges = _parted(_gains(counts, sums), levels)  # [K, levels + 1]
    parts = [np.diff(np.take_along_axis(sum_, edges, axis=1), axis=1) for sum_ in (counts, sums)]
    means = np.divide(parts[1], parts[0], out=np.full(parts[1].shape, -np.inf), where=parts[0] > 0)
    ascending = np.maximum.accumulate(means, axis=1)
    first = np.where(means > -np.inf, means, np.inf).min(axis=1, keepdims=True)
    found: Array = (np.maximum(ascending, first) * size).astype(np.float32)
    return found


def _histogram(block: Array, bins: int) -> tuple[Array, Array, Array]:
    """Return sums over the bins before each edge, of ones and of values over the row's largest size.

    And that size.  # [K, bins + 1], [K, bins + 1], [K, 1], float64
    """
    size = np.abs(block).max(axis=1, keepdims=True).astype(np.float64)
    units = np.divide(block, size, out=np.zeros(block.shape), where=size > 0)
    low, high = units.min(axis=1, keepdims=True), units.max(axis=1, keepdims=True)
    step = np.maximum(high - low, 1e-300) / bins
    places = np.minimum((units - low) / step, bins - 1).astype(np.int64)
    places += bins * np.arange(len(block))[:, None]
    total = bins * len(block)
    counts = np.bincount(places.ravel(), minlength=total).reshape(-1, bins)
    sums = np.bincount(places.ravel(), weights=units.ravel(), minlength=total).reshape(-1, bins)
    before = [np.pad(one.astype(np.float64), ((0, 0), (1, 0))).cumsum(axis=1) for one in (counts, sums)]
    return before[0], before[1], size


def _gains(counts: Array, sums: Array) -> Array:
    """Return how much squared error one level for the bins from a to b saves; -inf for a > b.  # [K, a, b]"""
    number = counts[:, None, :] - counts[:, :, None]
    gains: Array = np.square(sums[:, None, :] - sums[:, :, None])
    np.divide(gains, number, out=gains, where=number > 0)
    gains[number <= 0] = 0
    gains[:, np.tril(np.ones(gains.shape[1:], dtype=bool), -1)] = -np.inf
    return gains


def _parted(gains: Array, levels: int) -> Array:
    """Return the edges of the ``levels`` parts that save most together.  # [K, levels + 1]"""
    best, chosen = gains[:, 0, :].copy(), []  # of the bins before each edge, in one part
    for _ in range(levels - 1):
        both = best[:, :, None] + gains  # the last part begins at a  # [K, a, b]
        chosen.append(both.argmax(axis=1))
        best = both.max(axis=1)
    edges = [np.full((len(gains), 1), gains.shape[1] - 1)]
    for starts in reversed(chosen):
        edges.insert(0, np.take_along_axis(starts, edges[0], axis=1))
    return np.concatenate([np.zeros_like(edges[0]), *edges], axis=1)
