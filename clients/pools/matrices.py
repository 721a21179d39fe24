"""Large matrices whose memory is used again once nobody holds them any more.

What the C library does not keep of what is freed (``clients/placement/memory.py``) comes anew from the system
in every round, which clears each page: a fifth of a round of stacked clients that send two vectors each.
"""

from typing import Any
from weakref import finalize

import numpy as np
import torch
from torch import Tensor

from ..placement.memory import LARGEST_KEPT

Array = np.ndarray[Any, Any]
_MOST = 2  # what a round holds: messages, and what clients remember
_free: list[Array] = []


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
