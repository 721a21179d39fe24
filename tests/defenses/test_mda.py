"""Oracles: the golden matrix of the robustness spec, section 7; every subset tried."""

from itertools import combinations

import numpy as np
import pytest
import torch

from gauntlet.defenses.mda import MDA
from gauntlet.defenses.mean import Mean


def kept(verdict):
    return verdict.weights.nonzero().flatten().tolist()


def by_enumeration(rows, f):
    """Return the first of all (K - f)-subsets with the least diameter."""
    off = ((rows[:, None] - rows[None]) ** 2).sum(axis=2)
    subsets = list(combinations(range(len(rows)), len(rows) - f))
    return list(min(subsets, key=lambda s: (off[np.ix_(s, s)].max(), s)))


def test_the_golden_subset_is_found(golden_cohort):
    """Spec 7, row ``MDA BZ (drops rows 3, 9)``."""
    verdict, _ = MDA(2).aggregate(golden_cohort, None)
    golden = [-0.443798547, -0.409095200, -0.208812950, -0.314456761, 0.142766726]
    np.testing.assert_allclose(verdict.aggregate, golden, atol=1e-9)
    assert kept(verdict) == [0, 1, 2, 4, 5, 6, 7, 8, 10]


@pytest.mark.parametrize("f", [0, 1, 2, 3, 4])
def test_it_is_the_first_of_all_subsets_with_the_least_diameter(cohort, f):
    for seed in range(15):
        rows = np.random.default_rng(seed).normal(size=(9, 2))
        assert kept(MDA(f).aggregate(cohort(rows), None)[0]) == by_enumeration(rows, f)


def test_of_equal_diameters_the_first_clients_are_taken(cohort):
    """Whole numbers on a grid: many pairs are equally far, whole subsets tie."""
    for seed in range(30):
        rows = np.random.default_rng(seed).integers(0, 3, size=(8, 2)).astype(float)
        for f in (1, 2, 3):
            assert kept(MDA(f).aggregate(cohort(rows), None)[0]) == by_enumeration(rows, f)


def test_ten_of_fifty_are_found_without_trying_ten_thousand_million_subsets(cohort):
    honest = np.random.default_rng(0).normal(size=(40, 20))
    liars = 3 + np.random.default_rng(1).normal(size=(10, 20))
    verdict, _ = MDA(10).aggregate(cohort(np.concatenate([liars, honest])), None)
    np.testing.assert_allclose(verdict.aggregate, honest.mean(axis=0), atol=1e-12)


def test_without_malicious_clients_it_is_the_mean(golden_cohort):
    mean, _ = Mean(weighting="uniform").aggregate(golden_cohort, None)
    torch.testing.assert_close(MDA(0).aggregate(golden_cohort, None)[0].aggregate, mean.aggregate)


def test_what_is_too_much_or_too_small_is_refused(cohort):
    with pytest.raises(ValueError, match="num_byzantine must be below 20, got 20"):
        MDA(20).aggregate(cohort(np.eye(41)), None)
    with pytest.raises(ValueError, match="MDA against 2 malicious clients needs a cohort above 4, got 4"):
        MDA(2).aggregate(cohort(np.eye(4)), None)
