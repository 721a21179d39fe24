"""Oracle: the golden values of the robustness spec, section 7."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.fang_krum import FangKrum, first_step
from gauntlet.core.contracts import Verdict
from gauntlet.core.updates import concatenate
from gauntlet.defenses.krum import Krum
from gauntlet.defenses.median import Median
from gauntlet.defenses.multi_krum import MultiKrum


def knowing(view, rule):
    return replace(view, aggregate=lambda updates: rule.aggregate(updates, None)[0])


def test_the_golden_lambda_is_found(golden_scene):
    """Spec 7: lambda_0 = 1.898266741, accepted after four halvings by Krum with K - f - 2 neighbours."""
    own, view = golden_scene
    assert first_step(view.honest.vectors, 2) == pytest.approx(1.898266741, abs=1e-8)
    sent, _ = FangKrum().corrupt(own, knowing(view, Krum(2)), None)
    signs = -view.honest.vectors.mean(dim=0).sign().numpy()
    np.testing.assert_allclose(sent.vectors, [0.118641671 * signs] * 2, atol=1e-8)


def test_krum_selects_the_attacker_and_goes_against_the_mean(scene):
    rows = 0.2 + np.random.default_rng(3).normal(size=(16, 400))
    own, view = scene(rows, rows[:4] * 50)
    view = knowing(view, Krum(4))
    sent, _ = FangKrum().corrupt(own, view, None)
    mean = view.honest.vectors.mean(dim=0)

    attacked = view.aggregate(concatenate([view.honest, sent], 20.0))
    naive = view.aggregate(concatenate([view.honest, own], 20.0))
    assert torch.equal(attacked.aggregate, sent.vectors[0])
    assert float(attacked.aggregate @ mean) < 0
    assert float(naive.aggregate @ mean) > 0


def test_a_rule_that_excludes_nobody_gets_the_first_step(golden_scene):
    own, view = golden_scene
    sent, _ = FangKrum().corrupt(own, knowing(view, Median()), None)
    np.testing.assert_allclose(sent.vectors.abs(), 1.898266741, atol=1e-8)


def test_one_place_among_the_selected_is_enough(golden_scene):
    """Multi-Krum lets attackers in earlier than Krum does."""
    own, view = golden_scene
    sent, _ = FangKrum().corrupt(own, knowing(view, MultiKrum(2)), None)
    assert float(sent.vectors.abs().max()) > 0.118641671 * 1.9


def test_a_rule_that_never_selects_an_attacker_ends_the_search(golden_scene):
    own, view = golden_scene
    rule = replace(view, aggregate=lambda u: Verdict(u.vectors[0], (u.client_ids < 27).double()))
    sent, _ = FangKrum(stop=1e-3).corrupt(own, rule, None)
    assert 0 < float(sent.vectors.abs().max()) < 1e-3


def test_a_stop_that_never_comes_is_refused():
    with pytest.raises(ValueError, match="stop must be above 0 and finite, got 0"):
        FangKrum(0.0)
