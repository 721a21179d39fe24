"""Large matrices whose memory is used again once nobody holds them any more.

What the C library does not keep of what is freed (``clients/placement/memory.py``) comes anew from the system
in every round, which clears each page: a fifth of a round of stacked clients that send two vectors each, and
six sevenths of the time that clipping a cohort takes.
"""

from typing import Any
from weakref import finalize

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, Any]

LARGEST_KEPT = 32 * 2**20
"""Bytes: the most that the C library can be told to keep."""

_MOST = 3  # what a round holds: messages, what clients remember, and what a rule makes of the messages
_free: list[Array] = []


def scaled(vectors: Tensor, factors: Tensor) -> Tensor:
    """Return each row x_i of ``vectors`` [K, P] times factor c_i of ``factors`` [K], in the type of the rows.

    Factors that are all 1 return the very matrix that came. One that is too small for that type to hold in
    full multiplies in float64: else a row of the longest numbers would be clipped to another length than was
    asked for, or to nothing.
    """
    if bool((factors == 1).all()):
        return vectors
    found = torch.mul(vectors, factors[:, None].to(vectors.dtype), out=like(vectors, len(vectors)))
    for row in (factors.abs() < torch.finfo(vectors.dtype).tiny).nonzero().flatten().tolist():
        found[row] = (vectors[row].double() * factors[row]).to(vectors.dtype)
    return found


def like(vectors: Tensor, rows: int) -> Tensor:
    """Return an empty matrix of so many rows, as wide as ``vectors`` [K, P] and of their type."""
    if vectors.dtype != torch.float32 or vectors.device.type != "cpu":
        return vectors.new_empty(rows, vectors.shape[1])
    return large(rows, vectors.shape[1])


def large(rows: int, columns: int) -> Tensor:
    """Return an empty float32 matrix in numpy's memory: huge pages, written 3 times as fast."""
    size = rows * columns
    if 4 * size <= LARGEST_KEPT:
        return torch.from_numpy(np.empty((rows, columns), dtype=np.float32))
    memory = _found(size)
    matrix = memory[:size].reshape(rows, columns)  # whoever holds a part of the tensor holds this object
    finalize(matrix, _give_back, memory).atexit = False
    return torch.from_numpy(matrix)


def _found(size: int) -> Array:
    """Return memory for so many numbers: some that is free and at most twice as large, or new."""
    for number, memory in enumerate(_free):
        if size <= len(memory) <= 2 * size:
            return _free.pop(number)
    return np.empty(size, dtype=np.float32)


def _give_back(memory: Array) -> None:
    _free.append(memory)
    del _free[:-_MOST]
