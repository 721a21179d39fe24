"""Two scales and two planes of -1, 0 and 1 for each group of values, found by turns."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .packing import Array

_PAIRS = np.array([(one, two) for one in (-1, 0, 1) for two in (-1, 0, 1)])  # [9, 2]
_RIDGE = 1e-8
_START = (1.3, 0.7)  # in units of the group's root mean square


def fitted(groups: Array, turns: int) -> tuple[Array, Array]:
    """Return scales at least 0, the larger first, float32 [G, 2], and planes, int8 [2, G, n].

    Of groups [G, n]. The last step is the choice of trits for the scales as they are sent.
    """
    size = np.abs(groups).max(axis=1, keepdims=True, initial=np.float32(0)).astype(np.float64)
    units = np.divide(groups, size, out=np.zeros(groups.shape), where=size > 0)
    scales = np.sqrt(np.square(units).mean(axis=1, keepdims=True)) * np.array(_START)  # [G, 2]
    trits = _nearest(units, scales)
    left = np.arange(len(units))  # of which trits still change
    for _ in range(turns):
        found = _solved(units[left], trits[:, left])
        again = _nearest(units[left], found)
        changed = (again != trits[:, left]).any(axis=(0, 2))
        scales[left], trits[:, left] = found, again
        left = left[changed]
        if not len(left):
            break
    scales = -np.sort(-np.abs(scales), axis=1)
    sent = np.minimum(scales * size, np.finfo(np.float32).max).astype(np.float32)
    return sent, _nearest(units, np.divide(sent, size, out=np.zeros(sent.shape), where=size > 0))


def _solved(units: Array, trits: Array) -> Array:
    """Return the scales that err least with given trits, of groups [G, n] and planes [2, G, n].  # [G, 2]"""
    one, two = trits.astype(np.float64)
    a, b, c = ((x * y).sum(axis=1) for x, y in ((one, one), (one, two), (two, two)))
    p, q = (one * units).sum(axis=1), (two * units).sum(axis=1)
    a, c = a + _RIDGE, c + _RIDGE
    found: Array = np.stack([c * p - b * q, a * q - b * p], axis=1) / (a * c - b * b)[:, None]
    return found


def _nearest(units: Array, scales: Array) -> Array:
    """Return the trits of the nearest sum of each value, int8; of equals, the first of nine.  # [2, G, n]"""
    values = scales @ _PAIRS.T  # [G, 9]
    order = np.argsort(values, axis=1, kind="stable")
    ascending = np.take_along_axis(values, order, axis=1)
    edges = (ascending[:, 1:] + ascending[:, :-1]) / 2  # [G, 8]
    places = (units[:, :, None] > edges[:, None, :]).sum(axis=2)  # [G, n]
    return np.moveaxis(_PAIRS[np.take_along_axis(order, places, axis=1)], 2, 0).astype(np.int8)


def cells_of(tensors: Sequence[tuple[Array, Array, int]]) -> tuple[Tensor, Tensor]:
    """Return how far below and above each decoded value its values may lie, float64.  # [P] each

    Args:
        tensors: Of each its scales [G, 2], its planes [2, n] and the size of a group.
    """
    below, above = [torch.zeros(0, dtype=torch.float64)], [torch.zeros(0, dtype=torch.float64)]
    for scales, trits, group in tensors:
        values = np.sort(scales.astype(np.float64) @ _PAIRS.T, axis=1)  # [G, 9]
        own = np.arange(trits.shape[1]) // min(group, max(trits.shape[1], 1))  # each one's group
        sent = (scales.astype(np.float64)[own] * trits.T).sum(axis=1)[:, None]  # [n, 1]
        near = values[own]
        lower = np.where(near < sent, near, -np.inf).max(axis=1)
        upper = np.where(near > sent, near, np.inf).min(axis=1)
        below.append(torch.from_numpy((sent[:, 0] - lower) / 2))
        above.append(torch.from_numpy((upper - sent[:, 0]) / 2))
    return torch.cat(below), torch.cat(above)
