"""Oracle: the golden matrix of the robustness spec, section 7; the mean by definition."""

import numpy as np
import pytest

from gauntlet.attacks.poisoning.byz_mean import ByzMean


def test_the_golden_rows_are_sent(golden_scene):
    """Spec 7, row ``byz_mean z=.5, f=2``: one attacker sends g, the other what is missing."""
    own, view = golden_scene
    sent, _ = ByzMean().corrupt(own, view, None)
    honest = view.honest.vectors.numpy()
    g = honest.mean(axis=0) - 0.5 * honest.std(axis=0, ddof=1)
    second = [-4.890682961, -5.109856539, -4.803475419, -3.878878427, -4.039059247]
    np.testing.assert_allclose(sent.vectors, [g, second], atol=1e-8)


@pytest.mark.parametrize("attackers", [1, 2, 5])
def test_the_mean_of_all_rows_is_exactly_the_goal(scene, attackers):
    """It beats the mean: without the attack it would be within 0.1 of the honest one."""
    rows = np.random.default_rng(2).normal(size=(9, 30))
    sent, _ = ByzMean(z=2.0).corrupt(*scene(rows, rows[:attackers]), None)
    everybody = np.concatenate([rows, sent.vectors.numpy()])
    goal = rows.mean(axis=0) - 2 * rows.std(axis=0, ddof=1)
    np.testing.assert_allclose(everybody.mean(axis=0), goal, atol=1e-12)
    assert len(np.unique(sent.vectors.numpy(), axis=0)) == min(attackers, 2)


def test_where_nobody_is_honest_the_mean_of_all_rows_is_the_goal_too(scene):
    """Honest behaviour is then what the attackers would have sent."""
    rows = np.random.default_rng(2).normal(size=(5, 8))
    own, view = scene(np.zeros((0, 8)), rows)
    sent, _ = ByzMean(z=2.0).corrupt(own, view, None)
    goal = rows.mean(axis=0) - 2 * rows.std(axis=0, ddof=1)
    np.testing.assert_allclose(sent.vectors.mean(dim=0), goal, atol=1e-12)


def test_no_shift_is_no_attack():
    with pytest.raises(ValueError, match="z must be finite and not 0, got 0"):
        ByzMean(0.0)
