"""Whether a crowd falls in two, tested against crowds of one piece.

The best split of numbers on a line always has a distance between its halves; the question is whether chance
gives one as wide. The reference are as many uniform numbers: of all distributions with one mode and bounded
tails the one that looks most like two halves. It is the reference of the gap statistic (Tibshirani, Walther,
Hastie. Estimating the Number of Clusters in a Data Set via the Gap Statistic. Journal of the Royal
Statistical Society B 63, 2001). The width is scale-free, so that one table of chance, drawn once for each
size of crowd, serves any data.

Vectors are looked at along the directions in which they differ most; inner products are all that it takes.
"""

from functools import lru_cache

import numpy as np

from ...core.seeds import generator
from ..parts.columns import Array
from ..parts.geometry import at_one_length

LEAST_HALF = 2
"""A single client is an outlier, and no half."""

ROUNDING = 1e-12
"""Numbers that differ by less than this share of the largest are equal."""

SPREAD = 1.4826  # of a normal distribution, over the median distance from its median
UNUSUAL = 3.0

DRAWS, DRAWN_NUMBERS = 20_000, 4_000_000


def best_splits(ordered: Array) -> tuple[Array, Array]:
    """Return how far apart the halves of the best splits are, and how many are in the lower half.

    The best split leaves the least sum of squares within the halves. The distance of their means is in units
    of the root mean square within them; infinite where there is none.

    Args:
        ordered: R sets of n numbers, each ascending, n at least 4.  # [R, n]

    Returns:
        Distances [R], and sizes of the lower halves [R], from 2 to n - 2.
    """
    n = ordered.shape[1]
    centred = ordered - ordered.mean(axis=1, keepdims=True)
    low = np.cumsum(centred, axis=1)[:, :-1]  # [R, n - 1]
    sizes = np.arange(1, n)
    between = low**2 * n / (sizes * (n - sizes))
    between[:, : LEAST_HALF - 1] = between[:, n - LEAST_HALF :] = -np.inf
    best, rows = between.argmax(axis=1), np.arange(len(ordered))
    within = np.maximum((centred**2).sum(axis=1) - between[rows, best], 0.0)
    apart = -low[rows, best] * n / (sizes[best] * (n - sizes[best]))
    spread = np.sqrt(within / n)
    there = spread > 1e-9 * np.abs(apart)
    distance = np.divide(apart, spread, out=np.where(apart > 0, np.inf, 0.0), where=there)
    return distance, sizes[best]


@lru_cache(maxsize=256)
def chance(size: int) -> Array:
    """Return the distances that best splits of ``size`` uniform numbers have, ascending.  # [R]"""
    draws = max(1000, min(DRAWS, DRAWN_NUMBERS // size))
    numbers = np.sort(generator(0, "chance of a split", size).random((draws, size)), axis=1)
    return np.sort(best_splits(numbers)[0])


def p_value(distance: float, size: int) -> float:
    """Return the probability that chance splits ``size`` numbers at least so far apart."""
    table = chance(size)
    return (1 + len(table) - int(np.searchsorted(table, distance))) / (len(table) + 1)


def outlying_part(values: Array, level: float) -> tuple[Array, float]:
    """Return who is in the smaller half of numbers that fall in two, bool [n], and the p-value.

    Nobody where chance would give such halves with a probability above ``level``, where the halves are of one
    size, or where there are fewer than 4 numbers or no difference beyond rounding.
    """
    nobody = np.zeros(len(values), dtype=bool)
    if len(values) < 2 * LEAST_HALF or np.ptp(values) <= ROUNDING * np.abs(values).max():
        return nobody, 1.0
    order = np.argsort(values, kind="stable")
    distances, sizes = best_splits(values[order][None])
    p, lower = p_value(float(distances[0]), len(values)), int(sizes[0])
    if p > level or 2 * lower == len(values):
        return nobody, p
    part = order[:lower] if 2 * lower < len(values) else order[lower:]
    nobody[part] = True
    return nobody, p


def alike(gram: Array, part: Array) -> Array:
    """Return which members of a part have it in common, bool [n]; clients odd in their own ways do not.

    Seen without the direction of the others' mean, since whoever is odd has less of it than they have, the
    part's members must have more in common with each other than any as many of the others: who sends long
    updates only is apart, too, but no closer to its like than anybody is to somebody. And a member's mean
    cosine with the rest of its part is unusual among those of the clients outside: above them all, and 3
    robust standard deviations above their median. Nobody, where fewer than two are.

    Args:
        gram: Inner products, float64.  # [n, n]
        part: The part, the smaller one of two.  # [n]
    """
    middle = gram[~part].mean(axis=0)  # each one's inner product with the others' mean
    square = max(float(middle[~part].mean()), 1e-300)
    cosine = at_one_length(left_over(gram, gram - middle[:, None] * middle / square))
    np.fill_diagonal(cosine, 0.0)
    size, nobody = int(part.sum()), np.zeros_like(part)
    affinity = cosine[:, part].sum(axis=1) / np.where(part, max(size - 1, 1), size)
    if affinity[part].mean() <= closest_group(cosine[np.ix_(~part, ~part)], size):
        return nobody
    outside = affinity[~part]
    middle_one = float(np.median(outside))
    spread = SPREAD * float(np.median(np.abs(outside - middle_one)))
    bound = max(middle_one + UNUSUAL * spread, float(outside.max()))
    kept: Array = part & (affinity > bound)
    return kept if kept.sum() >= LEAST_HALF else nobody


def left_over(gram: Array, rest: Array) -> Array:
    """Return ``rest``, with 0 in the rows and columns of those of whom nothing but rounding error is left.

    Args:
        gram: Inner products of vectors, float64.  # [n, n]
        rest: Those of what is left of the vectors. Below a millionth of the length, the precision of a
            float32 update, it is nothing.  # [n, n]
    """
    there = np.diagonal(rest) > 1e-12 * np.diagonal(gram)
    found: Array = np.where(there[:, None] & there, rest, 0.0)
    return found


def closest_group(cosine: Array, size: int) -> float:
    """Return the most that a client and those nearest to it have in common: their pairs' mean cosine.

    Args:
        cosine: Cosines, 0 on the diagonal.  # [n, n]
        size: Of the group, the client included, from 2 to n.
    """
    others = cosine - 3.0 * np.eye(len(cosine))
    nearest = np.argsort(-others, axis=1, kind="stable")[:, : size - 1]
    groups = np.column_stack([np.arange(len(cosine)), nearest])  # [n, size]
    pairs = cosine[groups[:, :, None], groups[:, None, :]].sum(axis=(1, 2)) / (size * (size - 1))
    return float(pairs.max())


def leading_coordinates(gram: Array, count: int) -> Array:
    """Return where n vectors lie along the ``count`` directions in which they differ most.  # [count, n]

    Args:
        gram: Their inner products, float64.  # [n, n]
        count: Directions, at most n.
    """
    middle = gram.mean(axis=0)
    values, directions = np.linalg.eigh(gram - middle - middle[:, None] + middle.mean())
    found: Array = (directions * np.sqrt(values.clip(min=0.0)))[:, : -count - 1 : -1].T
    return found
