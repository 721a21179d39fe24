"""The layer plan against hand calculations, every possible plan, and a bound from convex optimisation."""

from functools import reduce
from time import process_time

import numpy as np
import pytest

from gauntlet.clients.codecs.parts.planning import plan

ERRORS = np.array([[4, 2, 1], [9, 3, 1], [2, 1, 0.5]])
SIZES = np.array([[1, 2, 4], [10, 20, 40], [100, 200, 400]])


def convex_bound(sizes, errors, bound):
    """Return a size below which no plan with this summed error can be: the best Lagrangian bound.

    max over lambda >= 0 of sum_l min_v (size + lambda error) - lambda bound, by golden section on a concave
    function.
    """
    errors = np.where(np.isfinite(errors), errors, np.inf)

    def dual(multiplier):
        weighed = np.where(np.isfinite(errors), sizes + multiplier * errors, np.inf)
        return float(weighed.min(axis=1).sum() - multiplier * bound)

    low, high = 0.0, 1.0
    while dual(2 * high) > dual(high) and high < 1e300:
        high *= 2
    high *= 2
    golden = (5**0.5 - 1) / 2
    for _ in range(200):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if dual(left) < dual(right):
            low = left
        else:
            high = right
    return max(dual(low), dual(high), dual(0.0))


def total(table, options):
    return float(table[np.arange(len(table)), options].sum())


def instance(draws, layers, options):
    """Return sizes that double and errors that fall from option to option, of layers of many sizes."""
    numel = np.exp(draws.uniform(3, 13, layers))[:, None]
    sizes = np.ceil(numel * 2.0 ** np.arange(options) * draws.uniform(0.8, 1.2, (layers, options)))
    falls = np.cumprod(draws.uniform(0.4, 0.95, (layers, options)), axis=1)
    return sizes, np.sqrt(numel) * draws.uniform(0.1, 3, (layers, 1)) * falls


def brute(sizes, errors, bound):
    """Return the size of the best of all plans."""
    every_size = reduce(np.add.outer, sizes).ravel()
    every_error = reduce(np.add.outer, errors).ravel()
    return every_size[every_error <= bound * (1 + 1e-12)].min()


def test_the_plan_of_three_layers_by_hand():
    """Bound 2 + 3 + 1 = 6: [2, 1, 0] costs 4 + 20 + 100 = 124 and errs by 1 + 3 + 2 = 6; uniform 222."""
    found = plan(SIZES, ERRORS, default=1)
    assert found == [2, 1, 0]
    assert (total(SIZES, found), total(ERRORS, found)) == (124, 6)


def test_it_is_the_best_of_all_plans_on_small_instances():
    """200 draws of 6 layers and 5 options: nearly always the optimum, and never 2 % from it."""
    draws, gaps = np.random.default_rng(0), []
    for _ in range(200):
        sizes, errors = instance(draws, 6, 5)
        found, bound = plan(sizes, errors, 2), errors[:, 2].sum()
        assert total(errors, found) <= bound * (1 + 1e-9)
        assert total(sizes, found) <= sizes[:, 2].sum()
        gaps.append(total(sizes, found) / brute(sizes, errors, bound) - 1)
    assert np.mean(np.array(gaps) < 1e-12) >= 0.97
    assert max(gaps) < 0.02
    assert min(gaps) > -1e-12


@pytest.mark.parametrize(("layers", "options"), [(62, 7), (62, 20), (161, 7)])
def test_it_is_within_two_percent_of_the_convex_bound(layers, options):
    draws = np.random.default_rng(1)
    for _ in range(5):
        sizes, errors = instance(draws, layers, options)
        default = options // 2
        least = convex_bound(sizes, errors, errors[:, default].sum())
        assert least <= total(sizes, plan(sizes, errors, default)) <= 1.02 * least


def test_the_convex_bound_is_below_every_plan():
    draws = np.random.default_rng(2)
    for _ in range(20):
        sizes, errors = instance(draws, 4, 4)
        bound = errors[:, 1].sum()
        least = brute(sizes, errors, bound)
        assert 0.5 * least <= convex_bound(sizes, errors, bound) <= least * (1 + 1e-9)


def test_sixty_two_layers_are_planned_in_a_tenth_of_a_second():
    """ResNet-18's number of tensors, 7 options; CPU time, the best of three."""
    sizes, errors = instance(np.random.default_rng(3), 62, 7)
    spent = []
    for _ in range(3):
        begin = process_time()
        plan(sizes, errors, 3)
        spent.append(process_time() - begin)
    assert min(spent) < 0.1


def test_a_single_option_is_the_uniform_choice():
    """The published program has no feasible state there, and gives option -1."""
    assert plan(SIZES[:, :1], ERRORS[:, :1], 0) == [0, 0, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_option_whose_error_is_no_number_is_never_taken(bad):
    errors = ERRORS.copy()
    errors[2, 0] = bad
    found = plan(SIZES, errors, 1)
    assert found[2] != 0
    errors[:, 1] = bad
    assert plan(SIZES, errors, 1) == [1, 1, 1]


def test_without_any_error_the_uniform_choice_stays():
    assert plan(SIZES, np.zeros_like(ERRORS), 1) == [1, 1, 1]


def test_squared_errors_may_give_another_plan():
    """Errors 3 and 4 against 5 and 0: 7 > 5 summed, 25 = 25 squared; by hand."""
    sizes = np.array([[1.0, 5.0], [1.0, 5.0]])
    errors = np.array([[3.0, 5.0], [4.0, 0.0]])
    assert plan(sizes, errors, 1) == [0, 1]
    assert plan(sizes, errors**2, 1) == [0, 0]
