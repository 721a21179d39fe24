"""Oracles: closed forms for two updates and for a hull around 0, and SciPy's minimiser."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from gauntlet.defenses.mgda import MGDA, shortest


def answer(rule, updates):
    return rule.aggregate(updates, rule.init())[0]


def test_two_updates_have_the_closed_form(cohort):
    """By hand: the weight of (1, 0) beside (-1, 1) is <g2 - g1, g2> / |g2 - g1|^2 = 3/5."""
    verdict = answer(MGDA(), cohort([[1.0, 0.0], [-1.0, 1.0]]))
    np.testing.assert_allclose(verdict.weights, [0.6, 0.4], atol=1e-12)
    np.testing.assert_allclose(verdict.aggregate, [0.2, 0.4], atol=1e-12)
    assert list(verdict.scores.values()) == pytest.approx([0.1, 0.1])  # products of 0.2 over 2


def test_a_hull_around_0_gives_0_even_if_it_is_rescaled(cohort):
    rows = [[1.0, 0.0], [-1.0, 1.0], [-0.5, -1.0]]
    for rule in (MGDA(), MGDA(rescale=True), MGDA(normalize=True)):
        np.testing.assert_allclose(answer(rule, cohort(rows)).aggregate, [0, 0], atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_what_rounding_leaves_of_a_hull_around_0_is_not_rescaled(cohort, seed):
    """24 updates in three dimensions hold 0 between them; what is found is 1e-12 long, or a little more."""
    rows = torch.from_numpy(np.random.default_rng(seed).normal(size=(24, 3))).float()
    assert float(answer(MGDA(rescale=True), cohort(rows)).aggregate.norm()) < 1e-6


@pytest.mark.parametrize("seed", range(5))
def test_the_weights_are_those_of_a_general_minimiser(seed):
    rows = np.random.default_rng(seed).normal(size=(7, 9)) + 0.3
    gram = rows @ rows.T
    best = minimize(
        lambda a: a @ gram @ a,
        np.full(7, 1 / 7),
        jac=lambda a: 2 * gram @ a,
        bounds=[(0, 1)] * 7,
        constraints={"type": "eq", "fun": lambda a: a.sum() - 1},
        options={"ftol": 1e-15, "maxiter": 500},
    )
    np.testing.assert_allclose(shortest(gram), best.x, atol=1e-5)
    assert (gram @ shortest(gram)).min() >= best.fun - 1e-8


def test_nobody_is_worse_off(cohort):
    """Its product with every update is at least its squared length."""
    rows = torch.from_numpy(np.random.default_rng(3).normal(size=(20, 40)))
    point = answer(MGDA(), cohort(rows)).aggregate
    assert float((rows @ point).min()) >= float(point @ point) - 1e-9
    assert float(point @ point) > 0


def test_rescaled_it_is_as_long_as_the_updates_are_on_average(cohort):
    rows = torch.from_numpy(np.random.default_rng(4).normal(size=(5, 30)))
    plain, long = answer(MGDA(), cohort(rows)), answer(MGDA(rescale=True), cohort(rows))
    assert float(long.aggregate.norm()) == pytest.approx(float(rows.norm(dim=1).mean()))
    torch.testing.assert_close(
        long.aggregate / long.aggregate.norm(), plain.aggregate / plain.aggregate.norm()
    )


def test_normalized_the_lengths_count_nothing(cohort):
    """By hand: of unit vectors at a right angle the shortest average is the half of each."""
    verdict = answer(MGDA(normalize=True), cohort([[5.0, 0.0], [0.0, 0.01]]))
    np.testing.assert_allclose(verdict.aggregate, [0.5, 0.5], atol=1e-12)
    np.testing.assert_allclose(verdict.weights, [0.5, 0.5], atol=1e-12)
