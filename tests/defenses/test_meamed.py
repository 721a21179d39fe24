"""Oracles: the golden matrix of the robustness spec, section 7; hand cases; byzfl where installed."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from gauntlet.defenses.meamed import Meamed
from gauntlet.defenses.mean import Mean


def test_the_golden_mean_around_the_median_is_found(golden_cohort):
    """Spec 7, row ``Meamed BZ``."""
    verdict, _ = Meamed(2).aggregate(golden_cohort, None)
    golden = [-0.161905410, -0.033968267, -0.493575933, -0.449807869, -0.151495625]
    np.testing.assert_allclose(verdict.aggregate, golden, atol=1e-9)


def test_of_values_equally_near_the_first_clients_count(cohort):
    """By hand: the median of 0, 1, 3, 5, 6 is 3; 0 and 6 are equally far: the first counts."""
    low_first, _ = Meamed(1).aggregate(cohort([[0.0], [1.0], [3.0], [5.0], [6.0]]), None)
    high_first, _ = Meamed(1).aggregate(cohort([[6.0], [1.0], [3.0], [5.0], [0.0]]), None)
    assert (low_first.aggregate.item(), high_first.aggregate.item()) == (9 / 4, 15 / 4)


def test_an_even_cohort_takes_the_middle_or_the_lower_median(cohort):
    """By hand: 0, 1, 5, 6, f = 1: around 3 the values 1, 5 and, first of the two, 0; around 1: 0, 1, 5 as
    well; but 0, 2, 5, 6: around 3.5 the values 2, 5, 6, around 2 the values 0, 2, 5."""
    updates = cohort([[0.0], [2.0], [5.0], [6.0]])
    assert Meamed(1).aggregate(updates, None)[0].aggregate.item() == pytest.approx(13 / 3)
    assert Meamed(1, even="lower").aggregate(updates, None)[0].aggregate.item() == pytest.approx(7 / 3)


def test_without_malicious_clients_it_is_the_mean(golden_cohort):
    mean, _ = Mean(weighting="uniform").aggregate(golden_cohort, None)
    torch.testing.assert_close(Meamed(0).aggregate(golden_cohort, None)[0].aggregate, mean.aggregate)


def test_options_and_cohorts_out_of_range_are_refused(cohort):
    with pytest.raises(ValueError, match="Meamed against 2 malicious clients needs a cohort above 4, got 4"):
        Meamed(2).aggregate(cohort(np.eye(4)), None)
    with pytest.raises(ValueError, match="even must be mean or lower, got 'upper'"):
        Meamed(2, even="upper")
    assert (Meamed(2).least_cohort, Meamed(2, on_infeasible="mean").least_cohort) == (5, 1)


def test_byzfl_agrees(cohort, byzfl_aggregators):
    """Over several blocks of columns; byzfl breaks no ties, and random rows have none."""
    for seed in range(12):
        rows = np.random.default_rng(seed).normal(size=(7 + seed, 60_000 if seed == 3 else 700))
        expected = byzfl_aggregators.Meamed(f=3)(rows)
        verdict, _ = Meamed(3).aggregate(cohort(rows), None)
        np.testing.assert_allclose(verdict.aggregate, expected, atol=1e-12)
        single = torch.tensor(rows).float()
        expected = byzfl_aggregators.Meamed(f=3)(single.double().numpy())
        np.testing.assert_allclose(
            Meamed(3).aggregate(cohort(single), None)[0].aggregate, expected, atol=1e-6
        )


def exactly(column: list[float], count: int) -> float:
    """Definition 7 in whole fractions: nothing is rounded, ties go to the first clients."""
    values = [Fraction(x) for x in column]
    ordered, last = sorted(values), len(values) - 1
    centre = (ordered[last // 2] + ordered[(last + 1) // 2]) / 2
    near = sorted(range(len(values)), key=lambda i: abs(values[i] - centre))[:count]
    return float(sum((values[i] for i in near), Fraction(0)) / count)


@pytest.mark.parametrize(
    ("base", "spread"),
    [(1000.0, 1e-3), (60.0, 6e-6), (1.0, 1e-7), (-1.0, 1e-7), (0.0, 1e-42), (0.0, 1e30), (2.0**24, 4.0)],
)
def test_values_of_float32_that_nearly_agree_are_told_apart(cohort, base, spread):
    """In float32 the distances of such values to their median are equal, and the wrong ones would count."""
    for seed in range(20):
        stream = np.random.default_rng(seed)
        size = int(stream.integers(4, 13))
        f = int(stream.integers(0, (size - 1) // 2 + 1))
        rows = torch.from_numpy(base + spread * stream.normal(size=(size, 20))).float()
        expected = [exactly(column, size - f) for column in rows.T.tolist()]
        found = Meamed(f).aggregate(cohort(rows), None)[0].aggregate
        np.testing.assert_array_equal(found, np.array(expected, dtype=np.float32))
