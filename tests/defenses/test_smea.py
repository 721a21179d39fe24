"""Oracles: every subset's covariance by numpy; ByzFL's rule, where its single power iteration cannot err."""

from itertools import combinations

import numpy as np
import pytest
import torch

from gauntlet.core.errors import InfeasibleCohort
from gauntlet.defenses import smea
from gauntlet.defenses.mean import Mean
from gauntlet.defenses.smea import SMEA


def kept(verdict):
    return verdict.weights.nonzero().flatten().tolist()


def by_enumeration(rows, f):
    """Return the (K - f)-subset whose covariance matrix [P, P] has the least top eigenvalue."""
    subsets = [list(s) for s in combinations(range(len(rows)), len(rows) - f)]
    tops = [np.linalg.eigvalsh(np.cov(rows[s].T, ddof=0).reshape(rows.shape[1], -1))[-1] for s in subsets]
    return subsets[int(np.argmin(tops))]


@pytest.mark.parametrize("f", [0, 1, 2, 3, 4])
def test_it_is_the_subset_with_the_smallest_top_eigenvalue(cohort, f):
    for seed in range(12):
        rows = np.random.default_rng(seed).normal(size=(10, 4)) * [1, 1, 2, 0.5]
        assert kept(SMEA(f).aggregate(cohort(rows), None)[0]) == by_enumeration(rows, f)


def test_small_blocks_find_what_large_ones_do(cohort, monkeypatch):
    rows = np.random.default_rng(3).normal(size=(11, 5))
    whole = kept(SMEA(4).aggregate(cohort(rows), None)[0])
    monkeypatch.setattr(smea, "_SETS", 7)
    monkeypatch.setattr(smea, "_EXACT", 3)
    assert kept(SMEA(4).aggregate(cohort(rows), None)[0]) == whole == by_enumeration(rows, 4)


def test_no_set_is_passed_over_by_a_bound_that_is_loose(cohort, monkeypatch):
    """With two turns of the power iteration bounds are far off and in another order than the eigenvalues."""
    monkeypatch.setattr(smea, "_EXACT", 2)
    monkeypatch.setattr(smea, "_TURNS", 2)
    for seed in range(8):
        rows = np.random.default_rng(seed).normal(size=(9, 6))
        assert kept(SMEA(3).aggregate(cohort(rows), None)[0]) == by_enumeration(rows, 3)


def test_it_drops_who_stands_apart_as_byzfl_does(cohort, byzfl_aggregators, monkeypatch):
    """ByzFL takes one power iteration from a random start, which may see nothing: here it is drawn."""
    starts = np.random.default_rng(0)
    monkeypatch.setattr(np.random, "randn", lambda size: starts.standard_normal(size))
    rows = np.random.default_rng(5).normal(size=(12, 6))
    rows[[2, 7, 9]] += 40
    verdict, _ = SMEA(3).aggregate(cohort(rows), None)
    assert kept(verdict) == [0, 1, 3, 4, 5, 6, 8, 10, 11]
    np.testing.assert_allclose(verdict.aggregate, byzfl_aggregators.SMEA(f=3)(rows), atol=1e-9)


def test_a_direction_is_seen_that_the_diameter_does_not_see(cohort):
    """By hand: three liars at (0, 1.2) are no farther than (+-1, 0) are from each other, and line up."""
    rows = np.array(
        [[1, 0], [-1, 0], [1, 0], [-1, 0], [0, 0.1], [0, -0.1], [0, 0], [0, 1.2], [0, 1.2], [0, 1.2]]
    )
    assert kept(SMEA(3).aggregate(cohort(rows), None)[0]) == by_enumeration(rows, 3)


def test_of_equals_the_first_clients_stay(cohort):
    verdict, _ = SMEA(2).aggregate(cohort(np.ones((7, 3))), None)
    assert kept(verdict) == [0, 1, 2, 3, 4]


def test_without_malicious_clients_it_is_the_mean(golden_cohort):
    mean, _ = Mean(weighting="uniform").aggregate(golden_cohort, None)
    torch.testing.assert_close(SMEA(0).aggregate(golden_cohort, None)[0].aggregate, mean.aggregate)


def test_three_of_fifty_are_found_among_twenty_thousand_sets(cohort):
    rows = np.random.default_rng(0).normal(size=(50, 20))
    rows[[4, 11, 30]] += 3
    assert set(range(50)) - set(kept(SMEA(3).aggregate(cohort(rows), None)[0])) == {4, 11, 30}


def test_what_is_too_much_or_too_small_is_refused(cohort):
    with pytest.raises(InfeasibleCohort, match="50 clients without 10 have 10272278170, at most 1000000"):
        SMEA(10).aggregate(cohort(np.eye(50)), None)
    with pytest.raises(ValueError, match="SMEA against 2 malicious clients needs a cohort above 4, got 4"):
        SMEA(2).aggregate(cohort(np.eye(4)), None)
