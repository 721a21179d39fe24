"""Clients that send the same update: who crafts one message for several clients gives himself away.

Honest clients with different examples never come that close in thousands of dimensions. Where everybody sends
the same, nobody stands out, and nobody is named.
"""

import numpy as np

from .columns import Array

CLOSE = 0.05
"""Copies are closer than this share of the median distance between two clients."""


def copied(gram: Array) -> Array:
    """Return who sends what another client sends too, bool; nobody where that is half of them or more.  # [K]

    An update of length 0 is no copy. Who copies an honest client makes it a copy as well.

    Args:
        gram: Inner products of the updates, float64.  # [K, K]
    """
    nobody = np.zeros(len(gram), dtype=bool)
    lengths = np.diagonal(gram)
    if len(gram) < 3:
        return nobody
    square = np.maximum(lengths[:, None] + lengths - 2 * gram, 0.0)
    pairs = square[np.triu_indices(len(gram), 1)]
    close = square < CLOSE**2 * np.median(pairs)
    np.fill_diagonal(close, False)
    found: Array = close.any(axis=1) & (lengths > 0)
    return found if 2 * found.sum() < len(gram) else nobody
