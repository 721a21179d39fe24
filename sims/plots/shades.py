"""Examples as shares of black and white, whoever draws them."""

import numpy as np

from .base import Array, RebuiltLike


def known(item: RebuiltLike) -> bool:
    """Return whether the truth is there: where its file is gone it is NaN, or -1 of tokens."""
    return not bool((np.isnan(item.truth) if item.truth.dtype.kind == "f" else item.truth == -1).all())


def scaled(examples: Array, item: RebuiltLike) -> Array:
    """Return values as shares of the truth's range, or of what was rebuilt; those beyond it at its ends."""
    low, high = range_of(item.truth if known(item) else item.rebuilt)
    return np.asarray(np.clip((np.asarray(examples, float) - low) / (high - low), 0, 1))


def range_of(truth: Array) -> tuple[float, float]:
    """Return the values drawn as black and white: 0 and 1 for pixels, else the truth's own extremes."""
    low, high = float(truth.min()), float(truth.max())
    if low >= 0.0 and high <= 1.0:
        return 0.0, 1.0
    return (low, high) if high > low else (low, low + 1.0)
