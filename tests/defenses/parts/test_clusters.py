"""Oracles: groups by hand."""

import numpy as np

from gauntlet.defenses.parts.clusters import NOISE, apart, dense_clusters, largest_cluster

GROUPS = np.array([[0.0], [0.1], [0.2], [0.3], [9.0], [9.1], [9.2], [50.0]])


def test_two_groups_and_one_alone():
    for given, precomputed in ((GROUPS, False), (np.abs(GROUPS - GROUPS.T), True)):
        before = given.copy()
        labels = dense_clusters(given, 2, precomputed=precomputed)
        assert len(set(labels[:4])) == 1
        assert len(set(labels[4:7])) == 1
        assert labels[7] == NOISE
        assert largest_cluster(labels).tolist() == [True] * 4 + [False] * 4
        np.testing.assert_array_equal(given, before)


def test_all_at_one_place_are_one_cluster_and_too_few_are_none():
    assert dense_clusters(np.ones((5, 3)), 4).tolist() == [0] * 5
    assert dense_clusters(np.zeros((2, 2)), 4, precomputed=True).tolist() == [0] * 2
    assert dense_clusters(np.zeros((1, 3)), 4).tolist() == [0]
    assert dense_clusters(GROUPS[:3], 4).tolist() == [NOISE] * 3
    assert dense_clusters(GROUPS[:2], 2).tolist() == [NOISE] * 2


def test_all_may_be_one_cluster_only_where_that_is_allowed():
    points = np.arange(6.0)[:, None]
    assert dense_clusters(points, 4, 2, single=True).max() == 0
    assert dense_clusters(points, 4, 2).max() == NOISE


def test_noise_is_alone_and_no_largest_cluster():
    distances = apart(np.array([0, 0, NOISE, NOISE, 1]))
    assert distances.tolist() == [
        [0, 0, 1, 1, 1],
        [0, 0, 1, 1, 1],
        [1, 1, 0, 1, 1],
        [1, 1, 1, 0, 1],
        [1, 1, 1, 1, 0],
    ]
    assert not largest_cluster(np.array([NOISE, NOISE])).any()
    assert largest_cluster(np.array([1, 1, 0, 0])).tolist() == [False, False, True, True]
