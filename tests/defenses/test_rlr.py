"""Oracles: the golden values of the robustness spec (section 7) and hand cases."""

import numpy as np
import pytest

from gauntlet.defenses.rlr import RLR

GOLDEN = [0.440548037, 0.378789878, 0.201598026, -0.488436726, -0.181434486]


def test_the_golden_aggregate_is_found(golden_cohort):
    """The absolute sums of signs are 1 1 1 5 1: with 4 only the fourth coordinate keeps its sign."""
    verdict, _ = RLR(threshold=4).aggregate(golden_cohort, None)
    np.testing.assert_allclose(verdict.aggregate, GOLDEN, atol=1e-8)
    assert verdict.weights is None


@pytest.mark.parametrize(("threshold", "expected"), [(2, [2.0, 1.0]), (3, [2.0, -1.0])])
def test_a_zero_has_no_vote(cohort, threshold, expected):
    """By hand: signs + + + and + 0 +, the means are 2 and 1."""
    verdict, _ = RLR(threshold).aggregate(cohort([[1, 1], [2, 0], [3, 2]]), None)
    assert verdict.aggregate.tolist() == expected


def test_the_threshold_zero_is_the_mean(golden_cohort):
    verdict, _ = RLR(threshold=0).aggregate(golden_cohort, None)
    np.testing.assert_allclose(verdict.aggregate, golden_cohort.vectors.mean(dim=0), atol=1e-12)


def test_a_cohort_that_could_agree_on_nothing_is_refused_or_handed_on(cohort):
    updates = cohort([[1.0], [2.0], [6.0]])
    words = "4 clients cannot agree in a cohort of 3; lower threshold, raise the cohort, or set on_infeasible"
    with pytest.raises(ValueError, match=words):
        RLR().aggregate(updates, None)
    assert RLR(on_infeasible="mean").aggregate(updates, None)[0].aggregate.tolist() == [3.0]
    assert RLR(on_infeasible="median").aggregate(updates, None)[0].aggregate.tolist() == [2.0]
    assert (RLR(7).least_cohort, RLR(0).least_cohort, RLR(on_infeasible="mean").least_cohort) == (7, 1, 1)


def test_an_option_out_of_range_is_refused():
    with pytest.raises(ValueError, match="threshold must be at least 0, got -1"):
        RLR(threshold=-1)


def test_blocks_of_columns_change_nothing(golden_cohort, monkeypatch):
    from gauntlet.defenses.parts import columns

    whole, _ = RLR().aggregate(golden_cohort, None)
    monkeypatch.setattr(columns, "BLOCK_ELEMENTS", 11)
    again, _ = RLR().aggregate(golden_cohort, None)
    np.testing.assert_allclose(again.aggregate, whole.aggregate, atol=1e-12)
