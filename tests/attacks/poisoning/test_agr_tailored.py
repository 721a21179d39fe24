"""Oracles: limits that a rule sets by hand, and a search over a grid."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.agr_tailored import AGRTailored, harm_of
from gauntlet.attacks.poisoning.min_max import MinMax
from gauntlet.attacks.poisoning.parts.moments import mean_and_std
from gauntlet.core.contracts import Verdict
from gauntlet.defenses.krum import Krum
from gauntlet.defenses.multi_krum import MultiKrum
from gauntlet.defenses.trimmed_mean import TrimmedMean


def knowing(view, rule):
    return replace(view, aggregate=lambda updates: rule.aggregate(updates, None)[0])


def rows(seed, honest=16, size=60):
    return 0.3 + np.random.default_rng(seed).normal(size=(honest, size))


@pytest.mark.parametrize("limit", [0.4, 3.0, 17.0])
def test_a_rule_that_takes_nothing_beyond_a_limit_is_taken_to_the_limit(scene, limit):
    """By hand: the rule leaves attackers out that are beyond ``limit`` honest standard deviations."""
    own, view = scene(rows(0), rows(1)[:4])
    mean, std = mean_and_std(view.honest.vectors)

    def rule(updates):
        away = (updates.vectors[:, 0] - mean[0]).abs() / std[0]
        kept = (away <= limit) | (torch.arange(len(updates)) < 16)  # the attackers stand last
        return Verdict(updates.vectors[kept].mean(dim=0))

    attack = AGRTailored(tolerance=1e-4)
    _, gamma = attack.tailored(own, replace(view, aggregate=rule))
    assert gamma == pytest.approx(limit, abs=3e-4)


@pytest.mark.parametrize("direction", ["std", "sign", "unit"])
@pytest.mark.parametrize("rule", [MultiKrum(4), Krum(4), TrimmedMean(4)], ids=["multi", "krum", "trimmed"])
def test_no_gamma_of_a_grid_does_more_harm_and_min_max_never_does(scene, rule, direction):
    """A grid of 80 gammas up to twice the start; the search may stop ``tolerance`` short of a limit."""
    own, view = scene(rows(3), rows(4)[:4])
    view = knowing(view, rule)
    mean, _ = mean_and_std(view.honest.vectors)
    attack = AGRTailored(direction, tolerance=1e-3)
    row, gamma = attack.tailored(own, view)
    p = (mean - row) / gamma

    def moved(g):
        return harm_of(mean - g * p, mean, own, view)

    best = max(moved(float(g)) for g in np.linspace(0.25, 20, 80))
    assert moved(gamma) >= best - 0.01 * abs(best)
    agnostic, _ = MinMax(direction).corrupt(own, view, None)
    assert moved(gamma) >= 0.99 * harm_of(agnostic.vectors[0].double(), mean, own, view)


def test_it_knows_no_more_than_it_says(scene):
    own, view = scene(rows(5), rows(6)[:4])
    view = knowing(view, TrimmedMean(4))
    sent, _ = AGRTailored(knowledge="colluders").corrupt(own, replace(view, honest=None), None)
    assert torch.isfinite(sent.vectors).all()
    with pytest.raises(ValueError, match="needs the server's rule; the view has none"):
        AGRTailored().corrupt(own, replace(view, aggregate=None), None)


def test_the_rule_is_asked_once_a_halving(scene):
    """10, then steps 5, 2.5, ... down to 0.01: at most 2 + 12 questions."""
    own, view = scene(rows(7), rows(8)[:4])
    asked = []

    def rule(updates):
        asked.append(1)
        return Verdict(updates.vectors.mean(dim=0))

    AGRTailored().corrupt(own, replace(view, aggregate=rule), None)
    assert 8 < len(asked) <= 14


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"direction": "up"}, "direction must be one of std, sign, unit, got 'up'"),
        ({"tolerance": 0.0}, "tolerance must be above 0 and below start_gamma"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        AGRTailored(**options)
