"""Oracles: the golden matrix of the robustness spec, section 7; numpy and torch."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.median import Median


def test_the_golden_median_is_found(golden_cohort):
    """Spec 7, row ``median``: byzfl, Blades and flwr agree."""
    verdict, _ = Median().aggregate(golden_cohort, None)
    golden = [-0.186930945, -0.032521705, -0.274137855, -0.583600433, -0.029251822]
    np.testing.assert_allclose(verdict.aggregate, golden, atol=1e-9)
    assert verdict.weights is None


@pytest.mark.parametrize(
    ("even", "golden"),
    [
        ("mean", [-0.497232810, 0.013810949, -0.365876808, -0.612535413, 0.042028582]),
        ("lower", [-0.807534675, -0.032521705, -0.457615761, -0.641470394, -0.029251822]),
    ],
)
def test_an_even_cohort_takes_the_middle_or_the_lower(golden_cohort, even, golden):
    """Spec 7, rows ``median of X[:10]``."""
    verdict, _ = Median(even=even).aggregate(golden_cohort.rows(torch.arange(10)), None)
    np.testing.assert_allclose(verdict.aggregate, golden, atol=1e-9)


@pytest.mark.parametrize("cohort_size", [1, 2, 3, 8, 33])
def test_it_is_numpys_median_and_torchs_lower_median(cohort, cohort_size):
    """numpy.median interpolates, torch.median takes the lower; over several blocks of columns."""
    rows = np.random.default_rng(cohort_size).normal(size=(cohort_size, 2**17 // cohort_size * 9))
    updates = cohort(rows)
    mean, _ = Median(even="mean").aggregate(updates, None)
    lower, _ = Median(even="lower").aggregate(updates, None)
    np.testing.assert_allclose(mean.aggregate, np.median(rows, axis=0), rtol=1e-12)
    assert torch.equal(lower.aggregate, updates.vectors.median(dim=0).values)


def test_the_largest_floats_do_not_overflow(cohort):
    """The mean of two values at 3e38 is 3e38, though their sum is no float32."""
    verdict, _ = Median().aggregate(cohort(torch.full((2, 1), 3e38)), None)
    assert verdict.aggregate.item() == pytest.approx(3e38)


def test_the_least_float_is_its_own_median(cohort):
    """1.4e-45 has no half in float32."""
    verdict, _ = Median().aggregate(cohort(torch.full((3, 1), 1.4e-45)), None)
    assert verdict.aggregate.item() > 0


def test_a_minority_far_away_leaves_it_among_the_honest(cohort):
    rows = np.random.default_rng(0).normal(size=(9, 4))
    rows[:4] = 1e6
    verdict, _ = Median().aggregate(cohort(rows), None)
    assert (verdict.aggregate.numpy() <= rows[4:].max(axis=0)).all()


def test_an_unknown_rule_for_even_cohorts_is_refused():
    with pytest.raises(ValueError, match="even must be mean or lower, got 'upper'"):
        Median(even="upper")
