"""Oracles: scikit-learn's PCA; clusters, cosines and distances by hand."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from gauntlet.core.seeds import generator
from gauntlet.defenses.rflbat import (
    RFLBAT,
    _partitions,
    least_alike,
    near_others,
    number_of_clusters,
    principal_points,
)


@pytest.mark.parametrize("shape", [(11, 5), (6, 300), (2, 4)])
def test_the_points_are_those_of_a_pca(shape):
    rows = np.random.default_rng(7).normal(size=shape)
    expected = PCA(2).fit_transform(rows)
    found = principal_points(torch.from_numpy(rows))
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-8)
    assert principal_points(torch.ones(1, 4)).tolist() == [[0.0, 0.0]]


def test_who_is_far_from_the_others_goes():
    """By hand, on a line at 0, 1, 2, 3, 100: sums 106, 103, 102, 103, 394; the median 103."""
    points = np.array([[0.0, 0], [1, 0], [2, 0], [3, 0], [100, 0]])
    assert near_others(points, 3.0).tolist() == [True] * 4 + [False]
    assert near_others(points, 4.0).all()
    assert near_others(np.zeros((3, 2)), 2.0).all()


def test_the_cluster_of_the_least_mean_cosine_stays():
    """By hand: inside the first two clusters cosines are 0.9 and 0.2; one alone is not chosen."""
    cosine = np.full((6, 6), -0.5)
    cosine[:3, :3], cosine[3:5, 3:5] = 0.9, 0.2
    np.fill_diagonal(cosine, 1.0)
    assert least_alike(cosine, np.array([0, 0, 0, 1, 1, 2])) == 1
    assert least_alike(np.ones((1, 1)), np.array([0])) == 0
    own = np.full((8, 8), 0.3)
    own[0, 1] = own[1, 0] = 0.1
    np.fill_diagonal(own, 1.0)  # a client's cosine to itself is not counted: 0.1 and 0.3
    assert least_alike(own, np.array([0, 0, 1, 1, 1, 1, 1, 1])) == 0


def two_minds(rng, honest, liars):
    """Honest clients around one point in many directions; liars at another, all the same but for a little."""
    rows = rng.normal(size=(honest + liars, 60))
    rows[:honest, 0] += 4
    rows[honest:] *= 0.05
    rows[honest:, 1] += 40
    return rows


def test_a_tight_group_with_another_mind_is_left_out(cohort):
    rows = two_minds(np.random.default_rng(0), 9, 5)
    verdict, _ = RFLBAT().aggregate(cohort(rows), None)
    assert {95, 105, 115, 125, 135} <= set(verdict.flags)
    kept = [row for row in range(9) if 10 * row + 5 not in verdict.flags]
    np.testing.assert_allclose(verdict.aggregate, rows[kept].mean(axis=0), atol=1e-12)


def test_the_gap_statistic_sees_one_crowd_and_three():
    """Points at the corners of a triangle are three clusters; evenly spread ones are one."""
    rng = np.random.default_rng(2)
    three = np.repeat([[0.0, 0], [10, 0], [0, 10]], 8, axis=0) + 0.1 * rng.normal(size=(24, 2))
    labels = RFLBAT()._split(three, generator(0, "rflbat", 0))
    assert [len(set(labels[at : at + 8])) for at in (0, 8, 16)] == [1, 1, 1]
    assert len(set(labels)) == 3
    assert RFLBAT()._split(rng.random((24, 2)), generator(0, "rflbat", 0)).max() == 0
    assert RFLBAT(max_clusters=1)._split(three, generator(0, "rflbat", 0)).max() == 0


@pytest.mark.parametrize(("more", "clusters"), [(1.1, 1), (1.21, 1), (1.24, 2), (1.4, 2)])
def test_a_gap_has_to_be_larger_by_its_error(more, clusters):
    """By hand: two sets a distance of 1 off their mean, so that the error of two clusters is sqrt(1 + 1/2) =
    1.2247. Without that factor it were 1, and by the deviation of a sample sqrt(3)."""
    reference = np.array([[0.0, -1.0, 0.0], [0.0, 1.0, 0.0]])
    assert number_of_clusters(np.array([0.0, -more, 9.0]), reference) == clusters
    assert number_of_clusters(np.array([0.0, -2.0, -4.0]), reference) == 3


def test_a_few_far_away_go_first_and_do_not_move_the_rest(cohort):
    rows = np.random.default_rng(4).normal(size=(12, 30))
    rows[3] *= 1e6
    verdict, _ = RFLBAT(first_tolerance=3.0).aggregate(cohort(rows), None)
    assert 35 in verdict.flags
    assert float(verdict.aggregate.norm()) < 5


@pytest.mark.parametrize("first", [True, False])
def test_each_tolerance_leaves_out_by_itself(cohort, first):
    rows = np.random.default_rng(4).normal(size=(12, 30))
    rows[3] *= 1e6
    one, high = {"max_clusters": 1}, 1e9
    tolerances = (3.0, high) if first else (high, 3.0)
    rule = RFLBAT(first_tolerance=tolerances[0], second_tolerance=tolerances[1], **one)
    assert set(rule.aggregate(cohort(rows), None)[0].flags) == {35}
    loose = RFLBAT(first_tolerance=high, second_tolerance=high, **one)
    assert not loose.aggregate(cohort(rows), None)[0].flags


@pytest.mark.parametrize(
    "options",
    [{"first_tolerance": 1.0}, {"second_tolerance": 0.5}, {"max_clusters": 0}, {"references": 1}],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        RFLBAT(**options)


def test_fewer_places_than_clusters_are_no_matter(cohort):
    """Five of eight send nothing, up to rounding at one place: without a warning, and somebody is kept."""
    rows = np.random.default_rng(5).normal(size=(8, 15))
    rows[:5] = 0
    verdict, _ = RFLBAT().aggregate(cohort(rows), None)
    assert 8 - len(verdict.flags) > 0
    _, labels = _partitions(np.repeat([[0.0, 0], [1, 0], [0, 1e-9]], 3, axis=0), 5, 0)
    for found in labels:
        assert set(found) == set(range(len(set(found))))
