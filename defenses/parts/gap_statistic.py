"""How many clusters there are in a few numbers, by the gap statistic; all clusterings are exact.

Source: Tibshirani, Walther, Hastie. Estimating the Number of Clusters in a Data Set via the Gap Statistic.
Journal of the Royal Statistical Society B 63, 2001. On a line the best k-means clusters are intervals:
dynamic programming finds them, where the usual restarts only come near.
"""

import numpy as np

from .columns import Array

NO_SPREAD = 1e-12


def dispersions(values: Array, most: int) -> Array:
    """Return the least sum of squared distances to the means of 1 ... ``most`` clusters.  # [R, most]

    Args:
        values: R sets of n numbers, each ascending.  # [R, n]
        most: Clusters at most, at least 1.
    """
    sets, n = values.shape
    sums, squares = (np.pad(np.cumsum(v, axis=1), ((0, 0), (1, 0))) for v in (values, values**2))
    best = np.full((sets, n + 1), np.inf)  # best[:, j]: of the first j numbers
    best[:, 0] = 0.0
    found = np.zeros((sets, most))
    for k in range(most):
        fewer, best = best, np.full((sets, n + 1), np.inf)
        for j in range(1, n + 1):
            size = np.arange(j, 0, -1)  # of a last cluster that starts at 0 ... j - 1
            inside = squares[:, j : j + 1] - squares[:, :j] - (sums[:, j : j + 1] - sums[:, :j]) ** 2 / size
            best[:, j] = (fewer[:, :j] + inside.clip(min=0.0)).min(axis=1)
        found[:, k] = best[:, n]
    return found


def num_clusters(values: Array, most: int, references: int, rng: np.random.Generator) -> int:
    """Return the first k whose gap is no worse than one standard error below the next one's.

    Args:
        values: The numbers, not all equal.  # [n]
        most: Clusters at most, at least 1.
        references: Uniform sets to compare with, at least 2.
        rng: What draws them.
    """
    scaled = np.sort((values - values.min()) / (values.max() - values.min()))
    own = dispersions(scaled[None], most)[0]  # [most]
    random = np.log(dispersions(np.sort(rng.random((references, len(values))), axis=1), most) + NO_SPREAD)
    gaps = np.log(np.exp(random).mean(axis=0)) - np.log(own + NO_SPREAD)  # [most]
    errors = np.sqrt(1 + 1 / references) * random.std(axis=0)
    for k in range(1, most):
        if own[k - 1] <= NO_SPREAD or gaps[k - 1] - gaps[k] + errors[k] >= 0:
            return k
    return most


def upper_half(values: Array) -> Array:
    """Return who is in the upper of the two best clusters of numbers that are not all equal, bool.  # [n]"""
    ordered = np.sort(values)
    sizes = np.arange(1, len(values))
    low = np.cumsum(ordered)[:-1]
    high = ordered.sum() - low
    between = low**2 / sizes + high**2 / (len(values) - sizes)  # largest where the spread inside is least
    upper: Array = values >= ordered[1:][between.argmax()]
    return upper
