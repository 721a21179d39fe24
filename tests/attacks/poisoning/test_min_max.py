"""Oracles: the golden matrix of the robustness spec, section 7, and distances written out with numpy."""

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.min_max import MinMax, most_distant
from gauntlet.attacks.poisoning.parts.deviation import along_direction
from gauntlet.attacks.poisoning.parts.moments import mean_and_std
from gauntlet.core.updates import concatenate
from gauntlet.defenses.krum import Krum
from gauntlet.defenses.trimmed_mean import TrimmedMean

GOLDEN = {"std": (1.391869, 1.391881577), "sign": (1.068211, 1.068225485), "unit": (2.424126, 2.424137924)}


def farthest_pair(rows):
    return np.linalg.norm(rows[:, None] - rows[None], axis=2).max()


@pytest.mark.parametrize("direction", GOLDEN)
def test_the_golden_gamma_is_found_by_step_halving_and_by_bisection(golden_scene, direction):
    """Spec 7, rows ``Min-Max gamma``: step halving stops slightly short of the exact boundary."""
    halving, exact = GOLDEN[direction]
    honest = golden_scene[1].honest.vectors
    assert most_distant(MinMax(direction), honest)[1] == pytest.approx(halving, abs=2e-5)
    assert most_distant(MinMax(direction, tolerance=1e-12), honest)[1] == pytest.approx(exact, abs=2e-9)


def test_the_golden_row_is_sent_by_everybody(golden_scene):
    """Spec 7, row ``Min-Max std vector (step halving)``."""
    sent, _ = MinMax().corrupt(*golden_scene, None)
    golden = [-1.687062916, -1.729283852, -1.530512940, -1.505378813, -1.109603073]
    np.testing.assert_allclose(sent.vectors, [golden, golden], atol=2e-5)


@pytest.mark.parametrize("direction", GOLDEN)
def test_the_farthest_honest_update_is_as_far_as_two_honest_ones(scene, direction):
    """The bound, by definition, on rows with a common part; and it is reached."""
    for seed in range(5):
        rows = 0.5 + np.random.default_rng(seed).normal(size=(8, 30))
        own, view = scene(rows, rows[:3])
        sent, _ = MinMax(direction, tolerance=1e-10).corrupt(own, view, None)
        reach = np.linalg.norm(sent.vectors[0].numpy() - rows, axis=1).max()
        assert reach == pytest.approx(farthest_pair(rows), rel=1e-8)
        p = along_direction(*mean_and_std(view.honest.vectors), direction)
        assert float((sent.vectors[0] - view.honest.vectors.mean(dim=0)) @ p) < 0  # against p


def test_equal_honest_updates_leave_no_room(scene):
    own, view = scene([[1.0, 2.0]] * 4, [[1.0, 2.0]])
    for direction in GOLDEN:
        sent, _ = MinMax(direction).corrupt(own, view, None)
        np.testing.assert_allclose(sent.vectors, [[1.0, 2.0]], atol=1e-4)


def test_a_gamma_beyond_twice_the_start_is_not_found(golden_scene):
    assert most_distant(MinMax(start_gamma=0.1), golden_scene[1].honest.vectors)[1] < 0.2


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"direction": "up"}, "direction must be one of std, sign, unit, got 'up'"),
        ({"start_gamma": 0.0}, "start_gamma must be finite and above 0, got 0"),
        ({"tolerance": 0.0}, "tolerance must be above 0 and below start_gamma"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        MinMax(**options)


@pytest.mark.parametrize("rule", [TrimmedMean(4), Krum(4)], ids=["trimmed mean", "krum"])
def test_it_moves_the_rules_that_it_was_made_against_farther_than_noise_does(scene, rule):
    """Sixteen honest, four attackers: the error against the honest mean, beside that of Gaussian rows."""
    rows = 0.3 + np.random.default_rng(3).normal(size=(16, 200))
    noise = np.random.default_rng(4).normal(size=(4, 200)) * 10
    own, view = scene(rows, noise)
    mean = view.honest.vectors.mean(dim=0)

    def error(bad) -> float:
        verdict, _ = rule.aggregate(concatenate([view.honest, bad], 20.0), None)
        return float(torch.linalg.vector_norm(verdict.aggregate - mean))

    attacked, _ = MinMax().corrupt(own, view, None)
    assert error(attacked) > 1.3 * error(own)
