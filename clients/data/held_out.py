"""Which rows of a pile that has no test set of its own are held out."""

import numpy as np

from ...core.seeds import generator
from .base import Array


def held_out(owners: Array, share: float) -> Array:
    """Return a mask of the rows that are held out: a random share of each owner's, rounded.

    The same in every run, and for an owner whatever the others hold.

    Args:
        owners: Whose each row is; all of one where nobody owns them.  # [n]
        share: From 0 to 1.
    """
    out = np.zeros(len(owners), dtype=bool)
    for owner in np.unique(owners):
        rows = np.flatnonzero(owners == owner)
        order = generator(0, f"rows held out of {owner}").permutation(len(rows))
        out[rows] = order < round(share * len(rows))
    return out
