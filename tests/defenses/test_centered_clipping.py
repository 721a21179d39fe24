"""Oracles: the golden matrix of the robustness spec, section 7; hand cases; byzfl where installed."""

import numpy as np
import pytest
import torch

from gauntlet.core.trees import equal
from gauntlet.defenses.centered_clipping import CenteredClipping


@pytest.mark.parametrize(
    ("iterations", "golden"),
    [
        (1, [-0.182649866, -0.144556980, -0.064013655, -0.283030781, 0.053614378]),
        (3, [-0.332860954, -0.228215874, -0.106274251, -0.482348725, 0.091396047]),
    ],
)
def test_the_golden_steps_from_zero_are_found(golden_cohort, iterations, golden):
    """Spec 7, rows ``centered clipping L=1 tau=1 v0=0`` and ``L=3``."""
    defense = CenteredClipping(clip_norm=1.0, iterations=iterations)
    verdict, _ = defense.aggregate(golden_cohort, defense.init())
    np.testing.assert_allclose(verdict.aggregate, golden, atol=1e-9)


def test_it_goes_on_from_the_last_aggregate(golden_cohort):
    """Three rounds of one step are one round of three, if the cohort sends the same."""
    one, three = CenteredClipping(1.0), CenteredClipping(1.0, iterations=3)
    state = one.init()
    for _ in range(3):
        verdict, state = one.aggregate(golden_cohort, state)
    once, after = three.aggregate(golden_cohort, three.init())
    torch.testing.assert_close(verdict.aggregate, once.aggregate, rtol=0, atol=1e-14)
    assert equal(after, once.aggregate)


def test_a_lie_moves_it_by_no_more_than_its_share(cohort):
    """By hand: from 0, tau 2: [3] counts 2, [1] counts 1, [-1e30] counts -2: (2 + 1 - 2) / 3."""
    verdict, _ = CenteredClipping(2.0).aggregate(cohort([[3.0], [1.0], [-1e30]]), None)
    assert verdict.aggregate.item() == pytest.approx(1 / 3, abs=1e-12)
    np.testing.assert_allclose(verdict.weights, [2 / 9, 1 / 3, 0], atol=1e-15)
    assert list(verdict.scores.values()) == [3, 1, 1e30]


def test_an_update_at_the_centre_is_not_divided_by_zero(cohort):
    state = torch.tensor([1.0, 2.0], dtype=torch.float64)
    verdict, _ = CenteredClipping(1.0).aggregate(cohort([[1.0, 2.0], [1.0, 2.5]]), state)
    assert verdict.aggregate.tolist() == [1.0, 2.25]


def test_an_empty_cohort_moves_nothing_and_forgets_nothing(cohort):
    state = torch.tensor([1.0])
    verdict, after = CenteredClipping().aggregate(cohort(torch.zeros(0, 1)), state)
    assert (verdict.aggregate.tolist(), after.tolist()) == ([0.0], [1.0])


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"clip_norm must be above 0 and finite, got 0\.0"):
        CenteredClipping(0.0)
    with pytest.raises(ValueError, match="iterations must be at least 1, got 0"):
        CenteredClipping(1.0, 0)


def test_byzfl_agrees_round_after_round(cohort, byzfl_aggregators):
    """byzfl's object remembers its last answer; in float32 that memory is rounded."""
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        theirs = byzfl_aggregators.CenteredClipping(L=2, tau=3.0)
        ours, state = CenteredClipping(3.0, 2), None
        for seed in range(8):
            rows = np.random.default_rng(seed).normal(size=(7 + seed, 13))
            verdict, state = ours.aggregate(cohort(torch.tensor(rows).to(dtype)), state)
            np.testing.assert_allclose(verdict.aggregate, theirs(rows), atol=tolerance)
