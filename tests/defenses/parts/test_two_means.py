"""Gaps by hand; splits against scikit-learn on the points themselves."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from sklearn.metrics.pairwise import euclidean_distances

from gauntlet.defenses.parts.gaps import first_jump, largest_gap
from gauntlet.defenses.parts.two_means import minority_of, separation, silhouette


@pytest.mark.parametrize(
    ("values", "middle"),
    [([3.0, 1.0, 9.0], 6.0), ([0.0, 2.0, 4.0], 1.0), ([5.0], 0.0), ([], 0.0), ([2.0, 2.0], 0.0)],
)
def test_the_first_widest_gap_is_found(values, middle):
    assert largest_gap(np.array(values)) == middle


@pytest.mark.parametrize(
    ("values", "last"),
    [
        ([1.0, 1.2, 9.0, 1.1, 2.5], 1.2),  # above the median 1.2 already the next one is a jump
        ([9.0, 1.0, 1.2, 1.5, 40.0], 1.5),  # two jumps: the first one counts
        ([0.1, 1.0, 1.0, 1.0, 2.0], np.inf),  # a jump below the median does not, nor just twice as much
        ([1.0, 1.0, 5.0, 5.0, 6.0], np.inf),  # one into the median neither
        ([1.0, 9.0], 1.0),
        ([3.0], np.inf),
        ([], np.inf),
    ],
)
def test_the_first_jump_of_the_upper_half_is_found(values, last):
    assert first_jump(np.array(values), 2.0) == last


@pytest.mark.parametrize("seed", range(5))
def test_the_split_of_distances_is_the_split_of_the_points(seed):
    """scikit-learn's KMeans on [40, 300] itself; q and silhouette from its centroids and labels."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(40, 300))
    points[rng.choice(40, 9, replace=False)] += rng.normal(size=300) / 3
    square = euclidean_distances(points, squared=True)
    means = KMeans(2, n_init=10, random_state=0, tol=0).fit(points)
    small = means.labels_ == np.bincount(means.labels_).argmin()

    minority = minority_of(square, 0, 10)

    assert minority.tolist() == small.tolist()
    apart = np.linalg.norm(np.subtract(*means.cluster_centers_)) / np.sqrt(means.inertia_ / 40)
    assert separation(square, minority) == pytest.approx(apart)
    assert silhouette(square, minority) == pytest.approx(silhouette_score(points, small))


def test_there_is_nothing_to_split_among_two_or_at_one_place():
    assert not minority_of(np.array([[0.0, 1.0], [1.0, 0.0]]), 0, 10).any()
    assert not minority_of(np.zeros((5, 5)), 0, 10).any()


def test_two_places_without_spread_are_infinitely_apart():
    points = np.array([[0.0], [0.0], [0.0], [1.0]])
    square = (points - points.T) ** 2
    minority = minority_of(square, 0, 10)
    assert minority.tolist() == [False, False, False, True]
    assert separation(square, minority) == float("inf")
