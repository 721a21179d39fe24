"""Oracles: hand calculations and the golden matrix of the robustness spec, section 7."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.mean import Mean

ROWS = [[1.0, 0.0], [0.0, 1.0], [4.0, -2.0]]


def test_each_client_counts_as_its_examples(cohort):
    """By hand: (1 * [1, 0] + 2 * [0, 1] + 5 * [4, -2]) / 8."""
    verdict, _ = Mean().aggregate(cohort(ROWS, [1, 2, 5]), None)
    assert verdict.aggregate.tolist() == [21 / 8, -1.0]
    assert verdict.weights.tolist() == [0.125, 0.25, 0.625]


def test_uniform_weights_ignore_what_clients_claim(cohort):
    verdict, _ = Mean(weighting="uniform").aggregate(cohort(ROWS, [1, 2, 10**6]), None)
    np.testing.assert_allclose(verdict.aggregate, [5 / 3, -1 / 3], rtol=1e-15)


def test_the_fixed_denominator_is_the_expected_cohort_not_the_one_that_came(cohort):
    """By hand: the sum [5, -1] over 10; and a missing client leaves the others' shares alone."""
    updates = cohort(ROWS, expected_size=10.0)
    verdict, _ = Mean(weighting="fixed").aggregate(updates, None)
    assert verdict.aggregate.tolist() == [0.5, -0.1]
    assert verdict.weights.tolist() == [0.1, 0.1, 0.1]
    fewer, _ = Mean(weighting="fixed").aggregate(updates.rows(torch.tensor([0, 1])), None)
    assert fewer.aggregate.tolist() == [0.1, 0.1]


def test_the_golden_mean_is_found(golden_cohort):
    """Spec 7, row ``mean``; byzfl, Blades and flwr agree."""
    verdict, _ = Mean(weighting="uniform").aggregate(golden_cohort, None)
    golden = [-0.440548037, -0.378789878, -0.201598026, -0.488436726, 0.181434486]
    np.testing.assert_allclose(verdict.aggregate, golden, atol=1e-9)


def test_only_the_fixed_denominator_declares_a_sensitivity():
    """One client of norm C moves sum / E by C / E; a realised denominator moves too."""
    assert Mean(weighting="fixed").sensitivity(clip_norm=3.0, expected_size=12.0) == 0.25
    assert Mean(weighting="uniform").sensitivity(3.0, 12.0) is None
    assert Mean(weighting="num_examples").sensitivity(3.0, 12.0) is None


def test_nobody_with_examples_moves_nothing(cohort):
    verdict, _ = Mean().aggregate(cohort(ROWS, [0, 0, 0]), None)
    assert verdict.aggregate.tolist() == [0.0, 0.0]


def test_a_negative_claim_counts_as_none(cohort):
    verdict, _ = Mean().aggregate(cohort(ROWS, [-5, 1, 0]), None)
    assert verdict.aggregate.tolist() == [0.0, 1.0]


def test_float32_updates_are_summed_in_float64(cohort):
    """1e8 + 1 - 1e8 is 0 in float32; the mean of the three is 1/3."""
    rows = torch.tensor([[1e8], [1.0], [-1e8]], dtype=torch.float32)
    verdict, _ = Mean(weighting="uniform").aggregate(cohort(rows), None)
    assert verdict.aggregate.dtype == torch.float32
    assert verdict.aggregate.item() == pytest.approx(1 / 3)


def test_a_sum_beyond_float32_is_its_largest_number(cohort):
    """Twenty clients of a cohort of ten expected, at 3e38 each: 6e38 is no float32."""
    rows = torch.tensor([[3e38, -3e38]]).repeat(20, 1)
    verdict, _ = Mean("fixed").aggregate(cohort(rows, expected_size=10.0), None)
    most = torch.finfo(torch.float32).max
    assert verdict.aggregate.tolist() == [most, -most]


def test_blocks_of_columns_do_not_show(cohort, monkeypatch):
    """In one block or in many: the same bits, and numpy's own sum in client order."""
    rows = torch.from_numpy(np.random.default_rng(3).normal(size=(7, 1001)).astype(np.float32))
    whole, _ = Mean().aggregate(cohort(rows), None)
    monkeypatch.setattr("gauntlet.defenses.parts.columns.BLOCK_ELEMENTS", 7 * 10)
    parts, _ = Mean().aggregate(cohort(rows), None)
    assert torch.equal(whole.aggregate, parts.aggregate)
    np.testing.assert_array_equal(
        whole.aggregate, rows.numpy().astype(np.float64).mean(axis=0).astype(np.float32)
    )


def test_what_clients_count_is_known_before_the_updates_are(cohort):
    updates = cohort(ROWS, [1, 2, 5], expected_size=4.0)
    for weighting in ("num_examples", "uniform", "fixed"):
        rule = Mean(weighting=weighting)
        counts = rule.counts(updates.num_examples)
        shares = counts / rule.denominator(counts, updates.expected_size)
        assert torch.equal(shares, rule.aggregate(updates, None)[0].weights)


def test_an_unknown_weighting_is_refused():
    with pytest.raises(
        ValueError, match="weighting must be one of num_examples, uniform, fixed, got 'equal'"
    ):
        Mean(weighting="equal")
