"""The mobility paper's epsilons: what was published, what the newer conversion says, and what really holds.

Golden values: specification, privacy, section 10, measured with dp-accounting 0.6.0.
"""

from math import log

import pytest

from gauntlet.privacy.accounting.order_grid import (
    OLD_GRID,
    fixed_batches_epsilon,
    new_conversion,
    old_conversion,
    poisson_divergences,
)

DELTA, ROWS = 1e-7, 3120
RUNS = [(35, 5, 62_400), (70, 5, 62_400), (140, 10, 31_200), (500, 5, 62_400)]  # z, batch, steps


def divergences(run):
    z, batch, steps = run
    return poisson_divergences(z, batch / ROWS, steps)


@pytest.mark.parametrize(("run", "published"), list(zip(RUNS, [0.0651, 0.0399, 0.0357, 0.0317], strict=True)))
def test_the_published_epsilons_come_from_the_old_conversion(run, published):
    """Published: 0.0650, 0.0399, 0.0357, 0.0317; the first differs in the last digit."""
    found = old_conversion(divergences(run), OLD_GRID, DELTA)

    assert found.epsilon == pytest.approx(published, abs=5e-5)
    assert found.order == 512


@pytest.mark.parametrize(("run", "newer"), list(zip(RUNS, [0.0509, 0.0258, 0.0216, 0.0175], strict=True)))
def test_the_newer_conversion_gives_less_and_says_that_the_grid_is_too_short(run, newer):
    found = new_conversion(divergences(run), OLD_GRID, DELTA)

    assert found.epsilon == pytest.approx(newer, abs=5e-5)
    assert found.warning == "the best order is the last of the grid, 512: take more orders"


def test_no_noise_brings_the_old_conversion_below_the_grids_floor():
    """ln(1 / delta) / 511 = 0.03154, specification."""
    floor = old_conversion([0.0] * len(OLD_GRID), OLD_GRID, DELTA).epsilon

    assert floor == pytest.approx(0.03154, abs=1e-5)
    assert floor == pytest.approx(log(1 / DELTA) / 511)
    assert old_conversion(divergences((1e6, 5, 62_400)), OLD_GRID, DELTA).epsilon == pytest.approx(floor)


def test_a_best_order_between_the_ends_needs_no_warning():
    """Gaussian z = 1: a / 2 + ln(1e5) / (a - 1) is least at 1 + sqrt(2 ln 1e5) = 5.8, of whole orders 6."""
    orders = range(2, 20)
    found = old_conversion([a / 2 for a in orders], orders, 1e-5)

    assert (found.order, found.warning) == (6.0, None)
    assert found.epsilon == pytest.approx(3 + log(1e5) / 5)


def test_the_first_order_warns_as_well():
    assert "the first of the grid, 2" in str(old_conversion([100.0, 900.0], [2, 3], 1e-5).warning)


@pytest.mark.parametrize(
    ("z", "examples", "epsilon"),
    [(35, 1, 1.363), (70, 1, 0.652), (140, 1, 0.313), (140, 2, 0.652), (500, 1, 0.082)],
)
def test_fixed_batches_have_no_amplification(z, examples, epsilon):
    """Last column of the specification: batches of 10 in 5 microbatches are two examples each."""
    assert fixed_batches_epsilon(z, 100, DELTA, examples) == pytest.approx(epsilon, abs=1e-3)


def test_no_epoch_is_refused():
    with pytest.raises(ValueError, match="must be at least 1, got 0 and 1"):
        fixed_batches_epsilon(1.0, 0, DELTA)
