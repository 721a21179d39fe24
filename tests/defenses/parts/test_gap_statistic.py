"""Oracles: every partition tried, scikit-learn's k-means, and numbers whose clusters one sees."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from gauntlet.core.seeds import generator
from gauntlet.defenses.parts.gap_statistic import dispersions, num_clusters, upper_half


def brute_force(values, k):
    """The least sum of squares of any cut of the line into k intervals."""
    n = len(values)
    cuts = ([0, *inner, n] for inner in combinations(range(1, n), k - 1))
    return min(sum(((values[a:b] - values[a:b].mean()) ** 2).sum() for a, b in pairwise(c)) for c in cuts)


def test_the_dispersions_are_the_least_of_all_partitions():
    values = np.sort(np.random.default_rng(0).random((3, 9)), axis=1)
    expected = [[brute_force(v, k) for k in range(1, 6)] for v in values]
    np.testing.assert_allclose(dispersions(values, 5), expected, atol=1e-12)


def test_scikit_learn_finds_no_better_clusters():
    from sklearn.cluster import KMeans

    values = np.sort(np.random.default_rng(1).random(40))
    found = dispersions(values[None], 4)[0]
    for k in range(1, 5):
        model = KMeans(k, n_init=20, random_state=0).fit(values[:, None])
        assert found[k - 1] <= model.inertia_ * (1 + 1e-9)
        assert found[k - 1] == pytest.approx(model.inertia_, rel=0.02)


@pytest.mark.parametrize("clusters", [1, 2])
def test_clusters_that_one_sees_are_counted(clusters):
    rng = np.random.default_rng(2)
    values = np.concatenate([10 * c + rng.random(15) for c in range(clusters)])
    assert num_clusters(values, 7, 10, generator(0, "gap")) == clusters


def test_the_count_is_that_of_the_formulas_on_every_partition():
    """Spec 5.4: gap_k = ln(mean W_ref) - ln W_k, first k with gap_k - gap_{k+1} + sd_{k+1} >= 0."""
    counts = set()
    for seed in range(25):
        values = np.sort(np.random.default_rng(seed).normal(size=8) ** 3)
        own = [brute_force((values - values[0]) / np.ptp(values), k) for k in range(1, 6)]
        sets = np.sort(generator(seed, "gap").random((4, 8)), axis=1)
        w = np.array([[brute_force(s, k) for k in range(1, 6)] for s in sets])
        gap = np.log(w.mean(axis=0)) - np.log(own)
        sd = np.sqrt(1 + 1 / 4) * np.log(w).std(axis=0)
        expected = next((k for k in range(1, 5) if gap[k - 1] - gap[k] + sd[k] >= 0), 5)
        assert num_clusters(values, 5, 4, generator(seed, "gap")) == expected
        counts.add(expected)
    assert len(counts) >= 3


def test_equal_scores_in_each_cluster_stop_the_count():
    """By hand: two values only, so two clusters leave nothing over."""
    assert num_clusters(np.array([0.0] * 6 + [1.0] * 3), 7, 10, generator(0, "gap")) == 2


def test_the_upper_of_two_clusters_is_that_of_the_best_cut():
    for seed in range(20):
        values = np.random.default_rng(seed).random(11)
        upper = upper_half(values)
        ordered = np.sort(values)
        best = min(
            range(1, 11),
            key=lambda c: sum(((part - part.mean()) ** 2).sum() for part in (ordered[:c], ordered[c:])),
        )
        assert upper.tolist() == (values >= ordered[best]).tolist()
