"""Oracle: searches by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.opt_alie import OptimalALittleIsEnough
from gauntlet.attacks.poisoning.opt_ipm import OptimalInnerProductManipulation
from gauntlet.attacks.poisoning.parts.probing import crowd, harm, line_search
from gauntlet.core.contracts import Verdict
from gauntlet.defenses.krum import Krum
from gauntlet.defenses.median import Median
from gauntlet.defenses.trimmed_mean import TrimmedMean

BOTH = {
    "Optimal_ALittleIsEnough": OptimalALittleIsEnough,
    "Optimal_InnerProductManipulation": OptimalInnerProductManipulation,
}


def knowing(view, rule):
    return replace(view, aggregate=lambda updates: rule.aggregate(updates, None)[0])


def test_steps_double_while_they_help_and_then_shrink():
    """By hand, for -(x - 35)^2 from 0: 10, 30 help, 70 does not; then 30 + 40 * 0.8^k, and k = 7 helps."""
    tried = []

    def objective(x: float) -> float:
        tried.append(x)
        return -((x - 35) ** 2)

    best = line_search(objective, evaluations=20, start=0.0, delta=10.0, ratio=0.8)
    np.testing.assert_allclose(tried[:6], [0, 10, 30, 70, 62, 55.6])
    assert len(tried) == 20
    assert best == pytest.approx(30 + 40 * 0.8**7)


@pytest.mark.parametrize("attack", BOTH.values())
@pytest.mark.parametrize("rule", [Median(), TrimmedMean(3), Krum(3)], ids=["median", "trimmed", "krum"])
def test_the_found_factor_does_more_harm_than_none(scene, attack, rule):
    """Spec 3.2: objective >= objective at tau = 0; here by a margin, in real deviation."""
    rows = 0.5 + np.random.default_rng(1).normal(size=(10, 50))
    own, view = scene(rows, rows[:3])
    view = knowing(view, rule)
    mean = view.honest.vectors.mean(dim=0)
    sent, _ = attack().corrupt(own, view, None)

    moved = harm(lambda _: sent.vectors[0], mean, own, view)(0.0)
    first = mean if attack is OptimalALittleIsEnough else 0 * mean
    untouched = harm(lambda _: first, mean, own, view)(0.0)
    assert moved >= untouched
    if not isinstance(rule, Krum):
        assert moved > 1.3 * untouched


def test_every_question_shows_the_whole_cohort_in_the_order_of_ids(scene):
    rows = np.random.default_rng(1).normal(size=(5, 4))
    own, view = scene(rows, rows[:2])
    seen = []

    def aggregate(updates):
        seen.append(updates)
        return Verdict(updates.vectors.mean(dim=0))

    OptimalALittleIsEnough(evaluations=3).corrupt(own, replace(view, aggregate=aggregate), None)
    assert [u.client_ids.tolist() for u in seen] == [[0, 3, 6, 9, 12, 15, 18]] * 3
    assert all(torch.equal(u.vectors[:5], view.honest.vectors) for u in seen)


def test_clients_of_other_attacks_are_taken_for_helpers_so_that_the_cohort_has_its_true_size(scene):
    """Two honest clients (ids 0, 3), one attacker (6), and two of nine that it does not see."""
    own, view = scene([[1.0, 2.0], [2.0, 1.0]], [[1.0, 1.0]])
    cohort = crowd(torch.tensor([7.0, 8.0]), own, replace(view, cohort_size=5))
    assert cohort.client_ids.tolist() == [0, 3, 6, 7, 8]
    assert cohort.vectors.tolist() == [[1.0, 2.0], [2.0, 1.0], *[[7.0, 8.0]] * 3]
    alone = crowd(torch.tensor([7.0, 8.0]), own, replace(view, honest=None, cohort_size=2))
    assert alone.client_ids.tolist() == [6, 7]


def test_without_the_servers_rule_it_says_so(scene):
    own, view = scene([[1.0, 2.0], [2.0, 1.0]], [[1.0, 1.0]])
    with pytest.raises(ValueError, match="needs the server's rule"):
        OptimalInnerProductManipulation().corrupt(own, view, None)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"evaluations": 0}, "evaluations must be at least 1, got 0"),
        ({"start": float("nan")}, "start must be finite, got nan"),
        ({"delta": 0.0}, "delta must be finite and not 0, got 0"),
        ({"ratio": 0.5}, "ratio must be above 0.5 and below 1, got 0.5"),
    ],
)
@pytest.mark.parametrize("attack", BOTH.values())
def test_options_out_of_range_are_refused(attack, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        attack(**options)
