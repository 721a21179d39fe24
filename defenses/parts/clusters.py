"""Clusters of clients by density (HDBSCAN), from points or from distances."""

import numpy as np

from .columns import Array
from .geometry import NO_LENGTH

NOISE = -1


def dense_clusters(
    given: Array,
    min_cluster_size: int,
    min_samples: int | None = None,
    *,
    precomputed: bool = False,
    single: bool = False,
) -> Array:
    """Return each client's cluster, from 0; ``NOISE`` for one that is in none.  # [K]

    Where all are at one place they are one cluster. Fewer clients than a cluster needs are all noise.

    Args:
        given: Points [K, D], or distances [K, K] with ``precomputed``; finite.
        min_cluster_size: Least members of a cluster, at least 2.
        min_samples: Neighbours that make a neighbourhood dense; None takes ``min_cluster_size``.
        precomputed: Whether ``given`` holds distances.
        single: Whether all may be one cluster.
    """
    if _at_one_place(given, precomputed):
        return np.zeros(len(given), dtype=np.int64)
    samples = min_cluster_size if min_samples is None else min_samples
    if len(given) < max(min_cluster_size, samples, 3):
        return np.full(len(given), NOISE)
    from sklearn import config_context
    from sklearn.cluster import HDBSCAN

    model = HDBSCAN(
        min_cluster_size=min_cluster_size,
        min_samples=samples,
        allow_single_cluster=single,
        metric="precomputed" if precomputed else "euclidean",
        copy=True,
    )
    with config_context(skip_parameter_validation=True):  # a third of what a small cohort costs
        labels: Array = np.maximum(model.fit_predict(given), NOISE)
    return labels


def _at_one_place(given: Array, precomputed: bool) -> bool:
    if len(given) < 2:
        return True
    apart = given.max() if precomputed else np.ptp(given, axis=0).max(initial=0.0)
    return bool(apart < NO_LENGTH)


def largest_cluster(labels: Array) -> Array:
    """Return who is in the largest cluster, the first of equals, bool; nobody if all is noise.  # [K]"""
    inside = labels[labels >= 0]
    largest = int(np.bincount(inside).argmax()) if len(inside) else NOISE - 1
    found: Array = labels == largest
    return found


def apart(labels: Array) -> Array:
    """Return 0 for two clients of one cluster and 1 for all others, float64; noise is alone.  # [K, K]"""
    together = (labels[:, None] == labels) & (labels >= 0)
    np.fill_diagonal(together, True)
    distances: Array = 1.0 - together
    return distances
