"""Oracles: the golden matrix of the robustness spec, section 7; scipy."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.mean import Mean
from gauntlet.defenses.median import Median
from gauntlet.defenses.trimmed_mean import TrimmedMean


def test_the_golden_trimmed_mean_is_found(golden_cohort):
    """Spec 7, row ``trimmed mean f=2``: byzfl, Blades and flwr agree."""
    verdict, _ = TrimmedMean(num_byzantine=2).aggregate(golden_cohort, None)
    golden = [-0.416387371, -0.217426300, -0.278525870, -0.484152448, 0.078078859]
    np.testing.assert_allclose(verdict.aggregate, golden, atol=1e-9)


@pytest.mark.parametrize(("cohort_size", "num_byzantine"), [(1, 0), (7, 3), (44, 15), (20, 1)])
def test_scipys_trimmed_mean_agrees(cohort, cohort_size, num_byzantine):
    """scipy.stats.trim_mean cuts int(share * K): half a client is added so that it cuts f."""
    from scipy.stats import trim_mean

    rows = np.random.default_rng(cohort_size).normal(size=(cohort_size, 3001))
    verdict, _ = TrimmedMean(num_byzantine).aggregate(cohort(rows), None)
    share = (num_byzantine + 0.5) / cohort_size if num_byzantine else 0.0
    np.testing.assert_allclose(verdict.aggregate, trim_mean(rows, share, axis=0), atol=1e-12)


def test_without_malicious_clients_it_is_the_mean(golden_cohort):
    trimmed, _ = TrimmedMean(0).aggregate(golden_cohort, None)
    mean, _ = Mean(weighting="uniform").aggregate(golden_cohort, None)
    torch.testing.assert_close(trimmed.aggregate, mean.aggregate)


def test_as_many_outliers_as_promised_are_ignored(cohort):
    """Two rows at 1e6 among seven: the result stays within the honest range, exactly as without them."""
    honest = np.sort(np.random.default_rng(0).normal(size=(5, 4)), axis=0)
    verdict, _ = TrimmedMean(2).aggregate(cohort(np.concatenate([honest, np.full((2, 4), 1e6)])), None)
    np.testing.assert_allclose(verdict.aggregate, honest[2:].mean(axis=0), atol=1e-12)


def test_the_inner_sum_is_taken_in_float64(cohort):
    """-2^25 and 4096 ones: a float32 sum that starts at -2^25 loses every one added to it."""
    rows = torch.ones(4099, 1)
    rows[0] = -(2.0**26)
    rows[1] = -(2.0**25)
    verdict, _ = TrimmedMean(1).aggregate(cohort(rows), None)
    assert verdict.aggregate.item() == pytest.approx((-(2**25) + 4096) / 4097, rel=1e-7)


def test_a_cohort_that_is_too_small_is_refused(cohort):
    with pytest.raises(ValueError, match="trimming 2 a side needs a cohort above 4, got 4"):
        TrimmedMean(2).aggregate(cohort(np.eye(4)), None)


def test_a_cohort_that_is_too_small_may_fall_back(cohort):
    updates = cohort([[0.0], [1.0], [8.0]], [1, 1, 100])
    mean, _ = TrimmedMean(2, on_infeasible="mean").aggregate(updates, None)
    median, _ = TrimmedMean(2, on_infeasible="median").aggregate(updates, None)
    assert (mean.aggregate.item(), median.aggregate.item()) == (3.0, 1.0)
    assert torch.equal(median.aggregate, Median().aggregate(updates, None)[0].aggregate)


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="num_byzantine must be at least 0, got -1"):
        TrimmedMean(-1)
    with pytest.raises(ValueError, match="on_infeasible must be one of raise, mean, median, got 'clamp'"):
        TrimmedMean(1, on_infeasible="clamp")


def test_either_a_number_or_a_share_is_given():
    for options in ({}, {"num_byzantine": 1, "beta": 0.1}):
        with pytest.raises(ValueError, match="either num_byzantine or beta must be given"):
            TrimmedMean(**options)
    with pytest.raises(ValueError, match=r"beta must be from 0 to below 0\.5, got 0\.5"):
        TrimmedMean(beta=0.5)


def test_the_least_cohort_is_the_one_that_does_not_raise(cohort):
    assert TrimmedMean(2).least_cohort == 5
    assert TrimmedMean(2, on_infeasible="median").least_cohort == 1
    verdict, _ = TrimmedMean(2).aggregate(cohort(np.arange(5.0)[:, None]), None)
    assert verdict.aggregate.item() == 2.0
