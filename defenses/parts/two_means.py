"""Split a crowd in two by k-means, and say how far apart the halves are.

k-means needs nothing but the distances between points. So the points are first laid out in as many
dimensions as there are points, at exactly their distances: the same split as among K vectors of a million
coordinates, for the price of a K x K matrix.
"""

import numpy as np

from .columns import Array


def minority_of(square: Array, seed: int, restarts: int) -> Array:
    """Return who is in the smaller half of the best 2-means; on a tie the half with label 1.  # [n]

    Nobody, where there is nothing to split: fewer than 3 points, or all of them at one place.

    Args:
        square: Squared Euclidean distances, float64.  # [n, n]
        seed: Of k-means' own random starts.
        restarts: How many starts, at least 1.
    """
    if len(square) < 3 or square.max() <= 0:
        return np.zeros(len(square), dtype=bool)
    from sklearn.cluster import KMeans

    means = KMeans(2, n_init=restarts, random_state=seed, tol=0.0).fit(_laid_out(square / square.max()))
    ones: Array = means.labels_ == 1
    return ones if 2 * ones.sum() <= len(ones) else ~ones


def separation(square: Array, minority: Array) -> float:
    """Return how far the halves' centroids are apart, in units of the spread within the halves.

    The distance of the two centroids over the root mean square distance of the points to their own;
    infinite where no half has any spread.
    """
    halves = (minority, ~minority)
    sums = [float(square[np.ix_(half, half)].sum()) / 2 / int(half.sum()) for half in halves]
    spread = sum(sums) / len(square)
    apart = float(square[np.ix_(*halves)].mean()) - sum(
        inner / int(half.sum()) for inner, half in zip(sums, halves, strict=True)
    )
    return float(np.sqrt(max(apart, 0.0) / spread)) if spread > 0 else float("inf")


def silhouette(square: Array, minority: Array) -> float:
    """Return the mean silhouette of the two halves, between -1 and 1."""
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(np.sqrt(square), minority, metric="precomputed"))


def _laid_out(square: Array) -> Array:
    """Return points at these squared distances, around the origin (classical scaling).  # [n, n]"""
    middle = square.mean(axis=0)
    gram = -0.5 * (square - middle - middle[:, None] + middle.mean())
    values, directions = np.linalg.eigh(gram)
    points: Array = directions * np.sqrt(values.clip(min=0.0))
    return points
