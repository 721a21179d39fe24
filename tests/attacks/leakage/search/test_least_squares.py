"""Oracles: least-squares problems with known solutions, and derivatives by hand."""

import math
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from gauntlet.attacks.leakage.search.engine import Budget, Found
from gauntlet.attacks.leakage.search.least_squares import by_least_squares, refuse_unsolvable
from gauntlet.core.errors import PluginError
from gauntlet.core.observation import Progress
from gauntlet.core.seeds import generator

BUDGET = Budget(max_iterations=50, tolerance=1e-12)


def test_a_linear_problem_is_solved_as_by_the_normal_equations():
    """torch.linalg.lstsq; 700 unknowns are more than one block of columns, or of rows."""
    stream = generator(0, "linear")
    matrix = torch.from_numpy(stream.standard_normal((900, 700))).double()
    wanted = torch.from_numpy(stream.standard_normal(900)).double()

    found = by_least_squares(
        lambda v: matrix @ v[0] - wanted, [(torch.zeros(700).double(),)], replace(BUDGET, max_iterations=8)
    )

    expected = torch.linalg.lstsq(matrix, wanted[:, None]).solution[:, 0]
    torch.testing.assert_close(found.variables[0], expected, rtol=0, atol=1e-5)
    assert found.cost == pytest.approx(float((matrix @ expected - wanted).square().sum()), rel=1e-6)


def test_the_minimum_of_rosenbrocks_valley_is_found():
    """Rosenbrock 1960, as the sum of two squares: the minimum is 0 at (1, 1)."""

    def valley(variables):
        x, y = variables
        return torch.stack([10 * (y[0] - x[0] ** 2), 1 - x[0]])

    found = by_least_squares(valley, [(torch.tensor([-1.2]), torch.tensor([1.0]))], BUDGET)

    torch.testing.assert_close(torch.cat(found.variables), torch.ones(2), rtol=0, atol=1e-5)
    assert found.stopped == "converged"
    assert len(found.trace) < 40
    assert found.trace[0] == pytest.approx(24.2)


def test_the_number_of_right_digits_doubles_with_each_step():
    """x^2 = 2 from 1.5 by Newton's method: errors e, e^2 / 3, ... where the damping is small."""

    def root(variables):
        return variables[0].square() - 2

    found = by_least_squares(root, [(torch.tensor([3.0]).double(),)], replace(BUDGET, tolerance=1e-24))

    falls = [math.log10(cost) for cost in found.trace if cost > 0]
    assert falls[-1] < -23
    assert falls[-1] < 1.6 * falls[-2]


def test_points_and_columns_of_the_derivative_are_counted():
    """A derivative by three unknowns calls the function once, and counts three times."""
    calls = []

    def missed(variables):
        calls.append(None)
        return variables[0] - 1

    found = by_least_squares(missed, [(torch.zeros(3),)], BUDGET)

    derivatives = len(found.trace) - 1
    assert derivatives > 0
    assert found.details["closures"] == len(calls) + (3 - 1) * derivatives


def test_a_derivative_is_used_again_while_that_gains_tenfold():
    """Of x - 1 the derivative is the same everywhere. With a damping of 1/1000 each step leaves an error of
    1/1001 of the one before, so that one derivative leads from 1e3 past 1e-15, where a step each leaves 1.
    """
    found = by_least_squares(lambda v: v[0] - 1, [(torch.full((3,), 1e3).double(),)], BUDGET)

    assert len(found.trace) == 2
    assert found.cost < 1e-24


def test_what_cannot_become_0_is_a_plateau():
    def floor(variables):
        return torch.cat([variables[0], torch.ones(1)])

    found = by_least_squares(floor, [(torch.full((2,), 3.0),)], BUDGET)

    assert found.stopped == "plateau"
    assert found.cost == pytest.approx(1)
    torch.testing.assert_close(found.variables[0], torch.zeros(2), rtol=0, atol=1e-4)


def wells(variables):
    """Two places where the slope is 0: cost 0 at x = 3, above 1 at x = -3 (a cubic's local extremum)."""
    (x,) = variables
    return torch.where(x < 0, 1 + (x + 3).square(), x - 3)


def test_after_a_plateau_the_next_start_is_taken_and_no_more_than_needed():
    starts = [(torch.tensor([at]),) for at in (-4.0, 5.0, 6.0)]

    found = by_least_squares(wells, starts, BUDGET)

    assert found.stopped == "converged"
    assert found.details["chosen_restart"] == 1
    assert found.details["restarts"] == 2
    assert found.traces[2] == ()
    torch.testing.assert_close(found.variables[0], torch.tensor([3.0]), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("floor", "taken"), [(1e-4, 1), (1e-2, 3)])
def test_no_further_start_is_taken_where_rounding_alone_is_left(floor, taken):
    """The least cost is floor^2, above the tolerance; the first is 9: 1e-9 of it is rounding, 1e-5 is not."""

    def rounded(variables):
        return torch.cat([variables[0], torch.full((1,), floor)])

    found = by_least_squares(rounded, [(torch.full((1,), 3.0),)] * 3, BUDGET)

    assert found.stopped == "plateau"
    assert found.details["restarts"] == taken
    assert found.cost == pytest.approx(floor**2, rel=1e-3)


def test_a_first_cost_that_is_huge_makes_no_minimum_a_rounding():
    """The least cost, 1e-4, is 1e-10 of the first: a start from far away has not found more for that."""

    def local(variables):
        return torch.cat([variables[0], torch.full((1,), 1e-2)])

    found = by_least_squares(local, [(torch.full((1,), 1e3),)] * 2, BUDGET)

    assert found.trace[0] == pytest.approx(1e6)
    assert (found.stopped, found.details["restarts"]) == ("plateau", 2)


def test_a_cost_that_rounding_explains_ends_the_search_at_once():
    """The least cost is 1e-4 of 9. Where rounding explains 1e-4, nobody waits for more or starts again."""

    def rounded(variables):
        return torch.cat([variables[0], torch.full((1,), 1e-2)])

    starts = [(torch.full((1,), 3.0),)] * 3
    found = by_least_squares(rounded, starts, BUDGET, floor=1e-4)
    below = by_least_squares(rounded, starts, BUDGET, floor=1e-5)

    assert (found.stopped, found.details["restarts"]) == ("plateau", 1)
    assert (below.stopped, below.details["restarts"]) == ("plateau", 3)
    assert found.cost == below.cost == pytest.approx(1e-4)


def test_near_the_cost_that_rounding_explains_nobody_waits():
    """Newton's method takes an eighth off x where x^8 is to be 0; beside 1, that is soon nothing."""

    def flat(variables):
        return torch.cat([variables[0] ** 8, torch.ones(1)])

    found, waiting = (by_least_squares(flat, [(torch.ones(1),)], BUDGET, floor=floor) for floor in (0.6, 0.4))

    assert found.stopped == waiting.stopped == "plateau"
    assert len(found.trace) < len(waiting.trace)
    assert found.cost == pytest.approx(1, rel=0.2)


def test_a_warm_up_comes_first_and_counts():
    """From 9 it leads to 4; Newton's method on a line takes one derivative from there."""

    def warmed(start, seconds):
        assert seconds is None
        at = start[0] - 5
        return Found(
            (at,),
            1.0,
            (36.0, 1.0),
            "plateau",
            {"closures": 7.0},
            Progress(at[None], (1.0,), (1,), (0.0,)),
            (),
        )

    found = by_least_squares(lambda v: v[0] - 3, [(torch.tensor([9.0]),)], BUDGET, warm_up=warmed)
    cold = by_least_squares(lambda v: v[0] - 3, [(torch.tensor([4.0]),)], BUDGET)

    assert found.trace == (36.0, 1.0, *cold.trace)
    assert found.details["closures"] == cold.details["closures"] + 7
    assert found.stopped == "converged"


def test_a_cost_that_rounding_explains_needs_no_derivative():
    found = by_least_squares(lambda v: v[0] - 1, [(torch.full((1,), 0.9),)], BUDGET, floor=0.02)

    assert (found.stopped, found.details["closures"]) == ("plateau", 1)


def test_a_start_without_a_cost_is_dropped_and_leaves_the_others():
    def cliff(variables):
        return torch.where(variables[0] > 10, torch.nan, variables[0] - 3)

    found = by_least_squares(cliff, [(torch.tensor([11.0]),), (torch.tensor([5.0]),)], BUDGET)
    alone = by_least_squares(cliff, [(torch.tensor([5.0]),)], BUDGET)
    lost = by_least_squares(cliff, [(torch.tensor([11.0]),)], BUDGET)

    assert found.traces[1] == alone.traces[0]
    assert torch.equal(found.variables[0], alone.variables[0])
    assert (lost.stopped, lost.cost) == ("nan", math.inf)


def test_a_step_to_where_there_is_no_cost_is_shortened():
    """From 9 the whole step to the root of log x leads to 9 - 9 log 9 < 0, where there is no logarithm."""
    found = by_least_squares(lambda v: v[0].log(), [(torch.tensor([9.0]),)], BUDGET)

    assert found.stopped == "converged"
    assert found.variables[0].item() == pytest.approx(1)


def test_time_that_is_up_stops_the_search_and_says_so():
    found = by_least_squares(lambda v: v[0] - 1, [(torch.zeros(2),)] * 2, replace(BUDGET, max_seconds=1e-9))

    assert found.stopped == "time_budget"
    assert found.details["restarts"] == 1


def test_time_is_looked_at_within_a_step():
    """640 unknowns are ten blocks of columns; with 0.05 s each, 0.12 s are up during the first derivative."""
    calls = []

    def slow(variables):
        calls.append(None)
        time.sleep(0.05)
        return variables[0] - 1

    found = by_least_squares(slow, [(torch.zeros(640),)], replace(BUDGET, max_seconds=0.12))

    assert found.stopped == "time_budget"
    assert len(calls) < 6


def test_fewer_parameters_than_unknowns_are_refused(digits, observe):
    x, y = digits
    small = observe(nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(4, 10)), x[:1], y[:1])

    with pytest.raises(PluginError, match=r"as many parameters as unknowns, got 50 for 64; use optimizer"):
        refuse_unsolvable(small)


def test_what_does_not_fit_into_memory_is_refused(digits, mlp, observe):
    x, y = digits
    large = observe(mlp(), x[:1], y[:1])
    large = replace(large, knowledge=replace(large.knowledge, batch_size=2000), update=torch.zeros(200_000))

    # By hand: (4 * 128000 * 200000 + 24 * 128000^2) / 2^30
    with pytest.raises(PluginError, match=r"needs 461.6 GiB for 128000 unknowns .* allowed are 4"):
        refuse_unsolvable(large)


def test_a_model_that_cannot_be_differentiated_forwards_is_refused(digits, observe):
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, slope):
            return 2 * slope

    class Doubled(nn.Module):
        def forward(self, x):
            return Twice.apply(x)

    x, y = digits
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), Doubled(), nn.Linear(16, 10))

    with pytest.raises(PluginError, match="differentiated forwards, and this one cannot"):
        refuse_unsolvable(observe(model, x[:1], y[:1]))
