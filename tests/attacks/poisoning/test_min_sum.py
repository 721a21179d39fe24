"""Oracles: the golden matrix of the robustness spec, section 7, and sums of distances with numpy."""

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.min_max import MinMax
from gauntlet.attacks.poisoning.min_sum import MinSum, most_distant
from gauntlet.core.updates import concatenate
from gauntlet.defenses.multi_krum import MultiKrum

GOLDEN = {"std": (0.540218, 0.540231044), "sign": (0.457172, 0.457186538), "unit": (1.022282, 1.022300178)}


@pytest.mark.parametrize("direction", GOLDEN)
def test_the_golden_gamma_is_found_by_step_halving_and_by_bisection(golden_scene, direction):
    """Spec 7, rows ``Min-Sum gamma``."""
    halving, exact = GOLDEN[direction]
    honest = golden_scene[1].honest.vectors
    assert most_distant(MinSum(direction), honest)[1] == pytest.approx(halving, abs=2e-5)
    assert most_distant(MinSum(direction, tolerance=1e-12), honest)[1] == pytest.approx(exact, abs=2e-9)


def test_the_sum_of_distances_is_that_of_the_most_central_honest_update(scene):
    rows = 0.5 + np.random.default_rng(0).normal(size=(9, 20))
    sent, _ = MinSum(tolerance=1e-10).corrupt(*scene(rows, rows[:2]), None)
    reach = np.square(sent.vectors[0].numpy() - rows).sum()
    sums = np.square(rows[:, None] - rows[None]).sum(axis=(1, 2))
    assert reach == pytest.approx(sums.min(), rel=1e-8)


def test_it_is_shyer_than_min_max(golden_scene):
    """The tighter bound gives the smaller gamma: 0.54 against 1.39 in the spec."""
    mean = golden_scene[1].honest.vectors.mean(dim=0)
    shy, bold = (a.corrupt(*golden_scene, None)[0].vectors[0] - mean for a in (MinSum(), MinMax()))
    assert float(shy.norm() / bold.norm()) == pytest.approx(0.540218 / 1.391869, abs=1e-4)


def test_multi_krum_takes_every_attacker_in(scene):
    """Sixteen honest, four attackers: all four are averaged, and the mean moves against the spread."""
    rows = 0.3 + np.random.default_rng(3).normal(size=(16, 200))
    own, view = scene(rows, np.full((4, 200), -30.0))
    rule, attacked = MultiKrum(4), MinSum().corrupt(own, view, None)[0]

    def verdict(bad):
        return rule.aggregate(concatenate([view.honest, bad], 20.0), None)[0]

    assert verdict(own).weights[-4:].sum() == 0
    assert torch.all(verdict(attacked).weights[-4:] > 0)
    shift = (verdict(attacked).aggregate - view.honest.vectors.mean(dim=0)).mean()
    assert float(shift) < -0.05


def test_options_out_of_range_are_refused():
    with pytest.raises(ValueError, match="direction must be one of std, sign, unit, got 'up'"):
        MinSum("up")
