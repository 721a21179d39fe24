"""Which elements a sparse codec keeps."""

import numpy as np

from .packing import Array


def largest(block: Array, k: int) -> Array:
    """Return the ascending places of each row's k largest sizes; of equals, the first.  # [K, k]"""
    rows, numel = block.shape
    sizes = np.abs(block)
    if not k or not rows:
        return np.zeros((rows, k), dtype=np.int64)
    least = np.partition(sizes, numel - k, axis=1)[:, numel - k, None]  # the k-th largest  # [K, 1]
    above, equal = sizes > least, sizes == least
    equal &= equal.cumsum(axis=1) <= k - above.sum(axis=1, keepdims=True)
    return np.nonzero(above | equal)[1].reshape(rows, k)
