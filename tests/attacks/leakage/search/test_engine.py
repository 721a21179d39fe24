"""Oracles: functions with known minima, and each restart's own search alone."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.attacks.leakage.search import engine
from gauntlet.attacks.leakage.search.adam import AdamSearch
from gauntlet.attacks.leakage.search.engine import PATIENCE, Budget, Problem, by_adam, by_lbfgs
from gauntlet.attacks.leakage.search.lbfgs import LBFGS
from gauntlet.core.seeds import generator

PLAIN, LINE = LBFGS(lr=1.0, history=100, line_search=False), LBFGS(lr=1.0, history=100, line_search=True)
BUDGET = Budget(max_iterations=100, tolerance=1e-10)


def starts(*values):
    return [(torch.tensor(value),) for value in values]


def bowl(variables):
    """Its minimum is 0 at (3, 3)."""
    return (variables[0] - 3).square().sum(dim=1)


def valley(variables):
    (x,) = variables
    return 100 * (x[:, 1] - x[:, 0] ** 2) ** 2 + (1 - x[:, 0]) ** 2


def wells(variables):
    """Two wells: 0.5 deep at x = -3, 0.2 at x = 3."""
    (x,) = variables
    return torch.minimum((x + 3).square() + 0.5, (x - 3).square() + 0.2).sum(dim=1)


@pytest.mark.parametrize("start", [[-1.2, 1.0], [2.0, -2.0], [-3.0, -4.0]])
def test_the_minimum_of_rosenbrocks_valley_is_found(start):
    """Rosenbrock 1960: the minimum is 0 at (1, 1)."""
    found = by_lbfgs(Problem(valley), starts(start), LINE, BUDGET)

    torch.testing.assert_close(found.variables[0], torch.ones(2), rtol=0, atol=1e-3)
    assert found.stopped == "converged"
    assert found.cost <= 1e-10


def test_every_evaluation_is_counted_and_the_trace_starts_at_the_start():
    calls = []

    def counted(variables):
        calls.append(len(variables[0]))
        return bowl(variables)

    found = by_lbfgs(Problem(counted), starts([0.0, 0.0], [1.0, 0.0]), PLAIN, replace(BUDGET, restarts=2))

    assert found.details["closures"] == sum(calls)
    assert [trace[0] for trace in found.traces] == [18.0, 13.0]


def test_the_start_is_left_as_it_was():
    (start,) = starts([0.0, 0.0])

    by_lbfgs(Problem(bowl), [start], PLAIN, BUDGET)
    by_adam(Problem(bowl), [start], AdamSearch(), replace(BUDGET, max_iterations=3))

    assert start[0].tolist() == [0.0, 0.0]
    assert not start[0].requires_grad


def cliff(variables):
    """The cost is NaN beyond x = 1, where the second step of size 1 leads."""
    (x,) = variables
    return torch.where(x > 1, torch.nan, (x - 2).square()).sum(dim=1)


def test_the_best_point_is_kept_when_the_search_meets_nan():
    found = by_lbfgs(Problem(cliff), starts([-4.0]), PLAIN, BUDGET)

    assert found.stopped == "nan"
    assert found.cost == float(cliff((found.variables[0][None],)))
    assert found.cost < 36.0


def test_a_line_search_steps_back_from_nan():
    found = by_lbfgs(Problem(cliff), starts([-4.0]), LINE, BUDGET)

    assert found.stopped == "plateau"
    assert found.cost == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("search", [(by_lbfgs, LINE), (by_adam, AdamSearch())], ids=["lbfgs", "adam"])
def test_a_restart_that_meets_nan_touches_no_other(search):
    """Oracle: the other restart alone."""
    run, how = search
    budget = replace(BUDGET, max_iterations=40)

    def cost(variables):
        (x,) = variables
        return torch.where(x[:, 0] > 5, torch.nan, 1) * valley((x - 0.5,))

    alone = run(Problem(cost), starts([-1.0, 1.0]), how, budget)
    both = run(Problem(cost), starts([6.0, 1.0], [-1.0, 1.0]), how, replace(budget, restarts=2))

    assert both.traces[1] == pytest.approx(alone.traces[0], rel=1e-4, abs=1e-9)
    assert both.details["chosen_restart"] == 1
    assert len(both.traces[0]) == 1 or not any(map(math.isfinite, both.traces[0]))


def test_a_search_that_stands_still_is_given_up():
    def flat(variables):
        return 1 + 1e-3 * (variables[0].abs().sqrt() + 0.1).sum(dim=1)

    found = by_lbfgs(Problem(flat), starts([9.0, 4.0]), LBFGS(1e-4, 10, line_search=False), BUDGET)

    assert found.stopped == "plateau"
    assert len(found.trace) <= PATIENCE + 2


def test_the_number_of_iterations_is_a_bound():
    def slow(variables):
        return variables[0].abs().pow(1.1).sum(dim=1) + 1e-3 * variables[0].square().sum(dim=1)

    small = LBFGS(1e-4, 100, line_search=False)
    found = by_lbfgs(Problem(slow), starts([50.0, 50.0, 50.0]), small, replace(BUDGET, max_iterations=2))

    assert found.stopped == "max_iterations"
    assert len(found.trace) == 2
    assert found.details["closures"] == 1 + 2 * engine.STEPS


@pytest.mark.parametrize("search", [(by_lbfgs, LINE), (by_adam, AdamSearch())], ids=["lbfgs", "adam"])
def test_time_that_is_up_stops_the_search_and_says_so(search):
    run, how = search
    found = run(Problem(valley), starts([-1.2, 1.0]), how, replace(BUDGET, max_seconds=1e-9))

    assert found.stopped == "time_budget"
    assert found.details["closures"] == 1


@pytest.mark.parametrize("order", [[-4.0, 2.5, -2.0], [2.5, -4.0, -2.0], [-4.0, -2.0, 2.5]])
@pytest.mark.parametrize(
    "search", [(by_lbfgs, PLAIN), (by_adam, AdamSearch(decays=False))], ids=["lbfgs", "adam"]
)
def test_the_restart_of_least_cost_is_chosen(search, order):
    run, how = search
    found = run(Problem(wells), starts(*[[x] for x in order]), how, replace(BUDGET, restarts=3))

    torch.testing.assert_close(found.variables[0], torch.tensor([3.0]), rtol=0, atol=0.06)
    assert found.cost == pytest.approx(0.2, abs=5e-3)
    assert found.details["restarts"] == 3
    assert found.details["chosen_restart"] == order.index(2.5)


def test_once_a_restart_has_converged_all_stop():
    found = by_lbfgs(Problem(wells), starts([2.5], [-4.0]), PLAIN, Budget(100, tolerance=0.3, restarts=2))

    assert found.stopped == "converged"
    assert len(found.traces[1]) == 1


def test_signs_move_every_input_alike_and_other_variables_by_their_gradients():
    """Adam's first step is lr in the sign's direction; a gradient of 1e-9 is as good as 1 to a sign."""
    seen = []

    def cost(variables):
        seen.append([v[0].tolist() for v in variables])
        x, q = variables
        return (x * torch.tensor([1.0, 1e-9])).sum(dim=1) + (q * torch.tensor([1.0, 1e-9])).sum(dim=1)

    start = (torch.zeros(2), torch.zeros(2))
    by_adam(
        Problem(cost),
        [start],
        AdamSearch(lr=0.1, decays=False, rates=(0.5,)),
        replace(BUDGET, max_iterations=2, tolerance=0),
    )

    x, q = seen[1]
    assert x == pytest.approx([-0.1, -0.1], rel=1e-5)
    assert q[0] == pytest.approx(-0.5, rel=1e-5)
    assert abs(q[1]) < 0.05


def test_steps_are_a_tenth_after_three_five_and_seven_eighths():
    seen = []

    def cost(variables):
        seen.append(float(variables[0].detach()))
        return variables[0].sum(dim=1)

    by_adam(Problem(cost), starts([0.0]), AdamSearch(lr=1.0), Budget(16, tolerance=-0.0))
    sizes = -np.diff(seen)

    np.testing.assert_allclose(sizes, [1.0] * 6 + [0.1] * 4 + [0.01] * 4 + [0.001], rtol=1e-4)


def test_steps_shrink_along_half_a_cosine():
    """Loshchilov, Hutter 2017, Equation 5: of sixteen steps the first is whole, the ninth half."""
    seen = []

    def cost(variables):
        seen.append(float(variables[0].detach()))
        return variables[0].sum(dim=1)

    by_adam(Problem(cost), starts([0.0]), AdamSearch(lr=1.0, schedule="cosine"), Budget(16, tolerance=-0.0))
    sizes = -np.diff(seen)

    np.testing.assert_allclose(sizes, (1 + np.cos(np.pi * np.arange(15) / 16)) / 2, rtol=1e-4)
    assert sizes[8] == pytest.approx(0.5, rel=1e-4)


def test_noise_is_added_to_the_inputs_alone_in_units_of_the_step():
    """Langevin's: Adam's first step along signs is lr; the rest is the stream's own draw times 0.5 lr."""
    seen = []

    def cost(variables):
        seen.append([v.detach().clone() for v in variables])
        return sum(v.sum(dim=1) for v in variables)

    start = (torch.zeros(2), torch.zeros(2))
    how = AdamSearch(lr=0.1, decays=False, noise=0.5)
    by_adam(
        Problem(cost), [start], how, replace(BUDGET, max_iterations=2, tolerance=0), generator(3, "noise")
    )

    drawn = torch.from_numpy(generator(3, "noise").normal(0, 0.05, (1, 2))).float()
    torch.testing.assert_close(seen[1][0], drawn - 0.1)
    torch.testing.assert_close(seen[1][1], torch.full((1, 2), -0.1))


def test_the_prior_steers_and_the_cost_alone_judges():
    shares = []

    def prior(variables, share):
        shares.append(share)
        return 100 * variables[0].abs().sum(dim=1)

    found = by_adam(Problem(bowl, prior), starts([1.0, 1.0]), AdamSearch(), replace(BUDGET, max_iterations=4))

    assert found.cost == 8.0  # the start: every step goes away from (3, 3)
    assert shares == [0, 0.25, 0.5, 0.75]


def test_variables_are_projected_after_each_step():
    def project(variables):
        variables[0].clamp_(max=1.25)

    problem = Problem(bowl, project=project)
    found = by_adam(problem, starts([0.0, 0.0]), AdamSearch(), replace(BUDGET, max_iterations=50))

    assert found.variables[0].tolist() == [1.25, 1.25]


def test_progress_is_the_best_so_far_of_the_restart_that_is_best_by_then():
    found = by_lbfgs(Problem(valley), starts([-1.2, 1.0], [2.0, -2.0]), LINE, replace(BUDGET, restarts=2))
    progress = found.progress

    costs = valley((progress.x,)).tolist()
    assert costs == pytest.approx(list(progress.cost), rel=1e-4, abs=1e-9)
    assert list(progress.cost) == sorted(progress.cost, reverse=True)
    assert list(progress.closures) == sorted(progress.closures)
    assert progress.closures[-1] == found.details["closures"]
    assert progress.cost[-1] == found.cost
    assert list(progress.seconds) == sorted(progress.seconds)


@pytest.mark.parametrize(
    ("make", "option", "value"),
    [
        (lambda v: replace(BUDGET, max_iterations=v), "max_iterations", 0),
        (lambda v: replace(BUDGET, restarts=v), "restarts", 0),
        (lambda v: replace(BUDGET, tolerance=v), "tolerance", -1.0),
        (lambda v: replace(BUDGET, tolerance=v), "tolerance", math.nan),
        (lambda v: replace(BUDGET, max_seconds=v), "max_seconds", 0.0),
        (lambda v: replace(PLAIN, history=v), "history", 0),
        (lambda v: replace(PLAIN, lr=v), "lr", 0.0),
        (lambda v: AdamSearch(lr=v), "lr", 0.0),
        (lambda v: AdamSearch(noise=v), "noise", -0.5),
        (lambda v: AdamSearch(rates=(v,)), "lr", -1.0),
    ],
)
def test_options_out_of_range_are_refused(make, option, value):
    with pytest.raises(ValueError, match=f"{option} must be .* got {value}"):
        make(value)


def test_a_prior_counts_no_more_than_its_bound_times_the_cost():
    """By hand at x = 2 of x^2 + 100 x, bounded by a half: 200 counts as 2, so its slope as 1, and 4 + 1 = 5.

    At x = -1, where the cost is 1 and the prior 0, nothing is taken away: -2 + 0.
    """
    problem = Problem(
        lambda v: v[0].square().sum(dim=1), lambda v, _: 100 * v[0].clamp(min=0).sum(dim=1), bound=0.5
    )

    costs, (slopes,) = engine._evaluated(problem, (torch.tensor([[2.0], [-1.0]]),), 0.0)

    assert costs == [4.0, 1.0]
    torch.testing.assert_close(slopes, torch.tensor([[5.0], [-2.0]]))
