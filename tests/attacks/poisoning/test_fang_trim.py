"""Oracle: the golden bounds of the robustness spec, section 7; the definition by hand."""

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.fang_trim import FangTrim, bounds
from gauntlet.core.updates import concatenate
from gauntlet.defenses.median import Median
from gauntlet.defenses.trimmed_mean import TrimmedMean


def test_the_golden_ends_are_the_bounds(golden_scene):
    """Spec 7, rows ``Fang trim b=2``."""
    low, high = bounds(golden_scene[1].honest.vectors, 2.0)
    np.testing.assert_allclose(
        low, [0.695303194, 0.356887008, 1.340215246, 0.271264359, -2.579075480], atol=1e-9
    )
    np.testing.assert_allclose(
        high, [1.390606389, 0.713774016, 2.680430491, 0.542528718, -1.289537740], atol=1e-9
    )


def test_all_four_cases_and_a_zero_mean_by_hand():
    """Columns: mean < 0 with max > 0; mean < 0 with max < 0; mean > 0 with min > 0; with min < 0; mean 0."""
    honest = torch.tensor([[-5.0, -5.0, 2.0, -1.0, -1.0], [1.0, -2.0, 6.0, 5.0, 1.0]], dtype=torch.float64)
    low, high = bounds(honest, 2.0)
    assert low.tolist() == [1.0, -2.0, 1.0, -2.0, 0.0]
    assert high.tolist() == [2.0, -1.0, 2.0, -1.0, 0.0]


def test_every_attacker_draws_its_own_values_between_the_bounds(scene):
    rows = np.random.default_rng(0).normal(size=(6, 5000))
    own, view = scene(rows, rows[:2])
    sent, _ = FangTrim(3.0).corrupt(own, view, None)
    low, high = bounds(view.honest.vectors, 3.0)
    place = ((sent.vectors - low) / (high - low)).numpy()
    assert place.min() >= 0
    assert place.max() <= 1
    np.testing.assert_allclose(place.mean(axis=1), 0.5, atol=5 * 12**-0.5 / 5000**0.5)
    assert abs(np.corrcoef(place)[0, 1]) < 5 / 5000**0.5


@pytest.mark.parametrize("rule", [TrimmedMean(4), Median()], ids=["trimmed mean", "median"])
def test_the_rules_that_it_was_made_against_move_the_wrong_way(scene, rule):
    """Sixteen honest with a common direction, four attackers: the error goes against the honest mean."""
    rows = 0.2 + np.random.default_rng(3).normal(size=(16, 400))
    own, view = scene(rows, rows[:4])
    mean = view.honest.vectors.mean(dim=0)
    attacked, _ = FangTrim().corrupt(own, view, None)

    def against(bad) -> float:
        aggregate = rule.aggregate(concatenate([view.honest, bad], 20.0), None)[0].aggregate
        return float(((aggregate - mean) * mean.sign()).mean())

    assert against(attacked) < -0.2
    assert against(own) > -0.05


@pytest.mark.parametrize("spread", [1.0, 0.5, float("inf"), float("nan")])
def test_a_spread_that_spreads_nothing_is_refused(spread):
    with pytest.raises(ValueError, match="spread must be finite and above 1, got"):
        FangTrim(spread)
