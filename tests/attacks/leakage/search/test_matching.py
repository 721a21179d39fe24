"""Oracles: functions with known minima, and gradients calculated apart from the engine."""

import math
import time
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage.search.matching import (
    PATIENCE,
    Search,
    best_of,
    dummy_inputs,
    gradient_distance,
    minimise,
)
from gauntlet.core.errors import PluginError
from gauntlet.core.seeds import generator

SEARCH = Search(
    max_iterations=100,
    lr=1.0,
    history=100,
    line_search=False,
    tolerance=1e-10,
    restarts=1,
    max_seconds=None,
)


def bowl(variables):
    """Its minimum is 0 at (3, 3)."""
    return (variables[0] - 3).square().sum()


def test_the_minimum_of_rosenbrocks_valley_is_found():
    """Rosenbrock 1960: the minimum is 0 at (1, 1)."""

    def valley(variables):
        (x,) = variables
        return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2

    found = minimise(valley, [torch.tensor([-1.2, 1.0])], replace(SEARCH, line_search=True))

    torch.testing.assert_close(found.variables[0], torch.ones(2), rtol=0, atol=1e-3)
    assert found.stopped == "converged"
    assert found.cost <= 1e-10


def test_every_evaluation_is_counted_and_the_trace_starts_at_the_start():
    calls = []

    def counted(variables):
        calls.append(1)
        return bowl(variables)

    found = minimise(counted, [torch.zeros(2)], SEARCH)

    assert found.closures == len(calls)
    assert found.trace[0] == 18.0
    assert len(found.trace) >= 1


def test_the_start_is_left_as_it_was():
    start = torch.zeros(2)

    minimise(bowl, [start], SEARCH)

    assert start.tolist() == [0.0, 0.0]
    assert not start.requires_grad


def test_the_best_point_is_kept_when_the_search_meets_nan():
    """The cost is NaN beyond x = 1, where the second step of size 1 leads."""

    def cliff(variables):
        (x,) = variables
        return torch.where(x > 1, torch.nan, (x - 2).square()).sum()

    found = minimise(cliff, [torch.tensor([-4.0])], SEARCH)

    assert found.stopped == "nan"
    assert math.isfinite(found.cost)
    assert found.cost == float(cliff(found.variables))
    assert found.cost < 36.0


def test_a_search_that_stands_still_is_given_up():
    found = minimise(lambda v: bowl(v) + 1, [torch.zeros(2)], SEARCH)

    assert found.stopped == "plateau"
    assert len(found.trace) <= 3 * PATIENCE
    assert found.cost == pytest.approx(1.0)


def test_the_number_of_iterations_is_a_bound():
    def slow(variables):
        return variables[0].abs().pow(1.1).sum() + 1e-3 * variables[0].square().sum()

    found = minimise(slow, [torch.full((3,), 50.0)], replace(SEARCH, max_iterations=2, lr=1e-4))

    assert found.stopped == "max_iterations"
    assert len(found.trace) == 2


def test_time_that_is_up_stops_the_search_and_says_so():
    found = minimise(lambda v: bowl(v) + 1, [torch.zeros(2)], SEARCH, deadline=time.monotonic())

    assert found.stopped == "time_budget"
    assert len(found.trace) == 1


def wells(variables):
    """Two wells: 0.5 deep at x = -3, 0.2 at x = 3."""
    (x,) = variables
    return torch.minimum((x + 3).square() + 0.5, (x - 3).square() + 0.2).sum()


@pytest.mark.parametrize("starts", [[-4.0, 2.5, -2.0], [2.5, -4.0, -2.0], [-4.0, -2.0, 2.5]])
def test_the_restart_of_least_cost_is_chosen(starts):
    left = iter(starts)

    found, details = best_of(wells, lambda: (torch.tensor([next(left)]),), replace(SEARCH, restarts=3))

    torch.testing.assert_close(found.variables[0], torch.tensor([3.0]), rtol=0, atol=1e-4)
    assert found.cost == pytest.approx(0.2)
    assert details["restarts"] == 3
    assert details["chosen_restart"] == starts.index(2.5)


def test_once_a_restart_has_converged_the_others_are_left_out():
    left = iter([2.5, -4.0])
    search = replace(SEARCH, restarts=2, tolerance=0.3)

    _, details = best_of(wells, lambda: (torch.tensor([next(left)]),), search)

    assert details["restarts"] == 1


def test_the_distance_is_that_between_the_gradients_over_the_squared_norm(digits, mlp, observe):
    """By hand, with gradients taken from the model's own parameters."""
    x, y = digits
    model = mlp(nn.Tanh)
    observation = observe(model, x[:3], y[:3])
    other = torch.autograd.grad(functional.cross_entropy(model(x[3:6]), y[3:6]), list(model.parameters()))
    difference = torch.cat([g.reshape(-1) for g in other]) - observation.gradient()
    expected = difference.square().sum() / observation.gradient().square().sum()

    def distance(x, y):
        return gradient_distance(observation)(x, y).detach()

    torch.testing.assert_close(distance(x[3:6], y[3:6]), expected)
    assert float(distance(x[:3], y[:3])) < 1e-9
    assert float(distance(x[:3], functional.one_hot(y[:3], 10).float())) < 1e-9


def test_a_zero_gradient_is_at_distance_1(digits, mlp, observe):
    x, y = digits
    model = mlp()
    observation = observe(model, x[:1], y[:1])
    with torch.no_grad():
        certain = model(x[:1]).softmax(dim=1)

    # With the predicted probabilities as labels, p - q = 0: the gradient is 0.
    assert float(gradient_distance(observation)(x[:1], certain).detach()) == pytest.approx(1.0, abs=1e-6)


def test_the_second_derivative_agrees_with_finite_differences(digits, mlp, observe):
    """Leakage specification, section 12: below 1e-3 relative; central differences, in float64."""
    x, y = digits
    observation = observe(mlp().double(), x[:1].double(), y[:1])
    observation = replace(observation, update=observation.update.double())
    distance = gradient_distance(observation)
    point = x[1:2].double().requires_grad_()
    (exact,) = torch.autograd.grad(distance(point, y[1:2]), point)
    direction = torch.from_numpy(generator(0, "direction").standard_normal(point.shape))
    step = 1e-5
    ahead, behind = (float(distance(point + s * direction, y[1:2]).detach()) for s in (step, -step))

    along = float((exact * direction).sum())
    assert (ahead - behind) / (2 * step) == pytest.approx(along, rel=1e-3)


def test_starts_are_drawn_as_asked(digits, mlp, observe):
    x, y = digits
    observation = observe(mlp(), x[:1], y[:1])

    normal = dummy_inputs(observation, 50, "normal", generator(0, "start"))
    uniform = dummy_inputs(replace(observation, value_range=(2.0, 4.0)), 50, "uniform", generator(0, "start"))

    assert normal.shape == uniform.shape == (50, 1, 8, 8)
    assert float(normal.mean()) == pytest.approx(0, abs=0.05)
    assert float(normal.std()) == pytest.approx(1, abs=0.05)
    assert float(uniform.mean()) == pytest.approx(3, abs=0.05)
    assert 2 <= float(uniform.min()) < float(uniform.max()) <= 4


def test_a_uniform_start_needs_a_range(digits, mlp, observe):
    x, y = digits
    observation = replace(observe(mlp(), x[:1], y[:1]), value_range=(-math.inf, math.inf))

    with pytest.raises(PluginError, match="finite value_range"):
        dummy_inputs(observation, 1, "uniform", generator(0, "start"))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_iterations", 0),
        ("history", 0),
        ("restarts", 0),
        ("lr", 0.0),
        ("tolerance", -1.0),
        ("max_seconds", 0.0),
    ],
)
def test_options_out_of_range_are_refused(option, value):
    with pytest.raises(ValueError, match=f"{option} must be .* got {value}"):
        replace(SEARCH, **{option: value})
