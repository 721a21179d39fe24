"""Oracles: the golden matrix of the robustness spec, section 7; closed forms; scipy."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.geometric_median import GeometricMedian

GOLDEN = {
    "converged": [-0.387383689, -0.240673724, -0.122192503, -0.528157413, 0.103297713],
    "byzfl": [-0.382776495, -0.240574382, -0.121900012, -0.528969545, 0.100832100],
    "mudhog_repo": [-0.435898495, -0.293019130, -0.103686910, -0.495203581, 0.116897471],
}


@pytest.mark.parametrize("preset", ["byzfl", "mudhog_repo"])
def test_the_golden_steps_of_the_presets_are_found(golden_cohort, preset):
    """Spec 7, rows ``geometric median BZ nu=.1 T=3 z0=0`` and ``MH (L1 weights, 5 it)``."""
    verdict, _ = GeometricMedian(preset=preset).aggregate(golden_cohort, None)
    np.testing.assert_allclose(verdict.aggregate, GOLDEN[preset], atol=1e-9)


def test_the_golden_median_is_found_by_default(golden_cohort):
    """Spec 7, row ``geometric median BZ nu=1e-9 T=500 (converged value)``."""
    verdict, _ = GeometricMedian().aggregate(golden_cohort, None)
    np.testing.assert_allclose(verdict.aggregate, GOLDEN["converged"], atol=1e-9)
    torch.testing.assert_close(verdict.weights @ golden_cohort.vectors, verdict.aggregate)
    assert float(verdict.weights.sum()) == pytest.approx(1)


def test_no_other_point_is_nearer_in_sum(golden_cohort):
    """scipy.optimize.minimize from the same start ends at the same sum of distances."""
    from scipy.optimize import minimize

    rows = golden_cohort.vectors.numpy()
    best = minimize(lambda z: np.linalg.norm(rows - z, axis=1).sum(), rows.mean(axis=0), tol=1e-12)
    verdict, _ = GeometricMedian().aggregate(golden_cohort, None)
    found = np.linalg.norm(rows - verdict.aggregate.numpy(), axis=1)
    assert found.sum() <= best.fun + 1e-9
    np.testing.assert_allclose(list(verdict.scores.values()), found, atol=1e-8)


def test_in_one_dimension_it_is_the_median(cohort):
    verdict, _ = GeometricMedian().aggregate(cohort([[0.0], [1.0], [10.0]]), None)
    assert verdict.aggregate.item() == pytest.approx(1.0, abs=1e-5)


def test_a_client_with_most_of_the_examples_decides_only_if_asked(cohort):
    """A point that weighs more than all others together is the weighted geometric median."""
    updates = cohort([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [50, 10, 10])
    weighted, _ = GeometricMedian(weighting="num_examples").aggregate(updates, None)
    uniform, _ = GeometricMedian().aggregate(updates, None)
    np.testing.assert_allclose(weighted.aggregate, [0, 0], atol=1e-5)
    side = (1 - 1 / np.sqrt(3)) / 2  # Fermat's point of the right triangle with legs 1
    np.testing.assert_allclose(uniform.aggregate, [side, side], atol=1e-8)


@pytest.mark.parametrize("far", [1e6, 1e18, 1e30])
@pytest.mark.parametrize("liars", [[0, 1], [5, 6]])
def test_a_minority_at_any_distance_pulls_no_harder_than_its_numbers(cohort, far, liars):
    """Beyond all others a liar pulls with a unit vector: the optimality condition, solved by scipy."""
    from scipy.optimize import minimize

    rows = np.random.default_rng(1).normal(size=(7, 3))
    rows[liars] = far
    honest = np.delete(rows, liars, axis=0)
    pull = len(liars) / np.sqrt(3)
    target = minimize(
        lambda z: np.linalg.norm(honest - z, axis=1).sum() - pull * z.sum(), honest.mean(axis=0), tol=1e-12
    )
    for start in ("crowd", "mean"):
        verdict, _ = GeometricMedian(iterations=2000, start=start).aggregate(cohort(rows), None)
        np.testing.assert_allclose(verdict.aggregate, target.x, atol=2e-5)


@pytest.mark.parametrize(("size", "liars"), [(5, 2), (40, 8), (40, 19), (99, 49)])
@pytest.mark.parametrize("far", [1e6, 1e12, 1e30])
def test_the_defaults_end_at_the_median_however_far_away_a_minority_is(cohort, size, liars, far):
    """The optimality condition: the unit vectors towards all clients add up to nothing."""
    rng = np.random.default_rng(0)
    rows, direction = rng.normal(size=(size, 50)), rng.normal(size=50)
    direction /= np.linalg.norm(direction)
    rows[:liars] = far * direction
    verdict, _ = GeometricMedian().aggregate(cohort(rows), None)
    towards = rows[liars:] - verdict.aggregate.numpy()
    pulls = towards / np.linalg.norm(towards, axis=1, keepdims=True)
    assert np.linalg.norm(pulls.sum(axis=0) + liars * direction) < 1e-4
    assert verdict.fallback == ""


@pytest.mark.parametrize(("iterations", "said"), [(None, True), (50, False)])
def test_steps_that_do_not_vanish_are_told_unless_their_number_was_asked_for(cohort, iterations, said):
    """At a corner of 120 degrees the two pulls just equal the corner's own: the steps are sublinear."""
    updates = cohort([[0.0, 0.0], [1.0, 0.0], [-0.5, np.sqrt(0.75)]])
    verdict, _ = GeometricMedian(iterations=iterations).aggregate(updates, None)
    complaint = "the steps did not vanish in 10000 iterations: the last point instead"
    assert verdict.fallback == (complaint if said else "")
    np.testing.assert_allclose(verdict.aggregate, [0, 0], atol=1e-3 if said else 0.1)


def test_claimed_examples_decide_where_the_crowd_is(cohort):
    """A client of more than half the examples is a crowd: one step from there stays there."""
    rows = [[1e9, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    updates = cohort(rows, [50, 10, 10, 10])
    for weighting, found in (("num_examples", rows[0]), ("uniform", [0.5, 0.5])):
        verdict, _ = GeometricMedian(iterations=1, weighting=weighting).aggregate(updates, None)
        np.testing.assert_allclose(verdict.aggregate, found, rtol=1e-12, atol=0.5)


def test_options_out_of_range_are_refused():
    for options, complaint in (
        ({"nu": 0.0}, "nu must be above 0 and finite, got 0.0"),
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"tolerance": -1.0}, "tolerance must be at least 0 and finite, got -1.0"),
        ({"start": "median"}, "start must be crowd, mean or zero, got 'median'"),
        ({"norm": "l3"}, "norm must be l2 or l1, got 'l3'"),
        ({"weighting": "fixed"}, "weighting must be uniform or num_examples, got 'fixed'"),
        ({"preset": "rfa"}, "preset must be byzfl or mudhog_repo, got 'rfa'"),
    ):
        with pytest.raises(ValueError, match=complaint):
            GeometricMedian(**options)


def test_an_explicit_option_overrides_the_preset(golden_cohort, byzfl_aggregators):
    verdict, _ = GeometricMedian(iterations=7, preset="byzfl").aggregate(golden_cohort, None)
    expected = byzfl_aggregators.GeometricMedian(nu=0.1, T=7)(golden_cohort.vectors.numpy())
    np.testing.assert_allclose(verdict.aggregate, expected, atol=1e-12)


def test_where_nobody_is_far_away_the_crowd_is_at_the_mean(cohort):
    """So the default start gives the mean's bits, step by step."""
    updates = cohort(np.random.default_rng(3).normal(size=(12, 200)))
    for iterations in (1, 20):
        crowd, _ = GeometricMedian(iterations=iterations).aggregate(updates, None)
        mean, _ = GeometricMedian(iterations=iterations, start="mean").aggregate(updates, None)
        assert torch.equal(crowd.aggregate, mean.aggregate)
