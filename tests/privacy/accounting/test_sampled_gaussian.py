"""The Poisson-sampled Gaussian at any order, and where one client is exchanged for another."""

import math

import mpmath
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from gauntlet.core.contracts import Release, Sampling
from gauntlet.privacy.accounting import Accountant
from gauntlet.privacy.accounting.calibration import noise_multiplier_for
from gauntlet.privacy.accounting.curves import EXCHANGED, gaussian_epsilon, pld_epsilon, rdp_epsilon
from gauntlet.privacy.accounting.sampled_gaussian import (
    LEAST,
    ORDERS,
    _divergence,
    least_epsilon,
    sampled_curve,
)

POISSON = Sampling("poisson", 100, 0.1, 10.0)


def dp_accounting_curve(orders, z, rate):
    import dp_accounting
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant(orders)
    accountant.compose(dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(z)))
    return np.asarray(accountant.rdp)


@pytest.mark.parametrize(("z", "rate"), [(0.1, 0.5), (0.3, 0.1), (1.0, 0.01), (2.0, 0.9), (5.0, 0.02)])
def test_whole_orders_are_those_of_dp_accounting(z, rate):
    """Mironov, Talwar, Zhang (2019), Section 3.3: a finite sum at whole orders."""
    orders = [2, 3, 4, 7, 16, 32, 64, 256]
    mine = [_divergence(float(order), z, rate, False) for order in orders]
    assert mine == pytest.approx(dp_accounting_curve(orders, z, rate), rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("exchanged", [False, True])
@pytest.mark.parametrize(
    ("order", "z", "rate"), [(1.01, 0.3, 0.1), (1.5, 0.5, 0.5), (2.7, 1.0, 0.01), (9.5, 2.0, 0.97)]
)
def test_orders_between_are_those_of_an_integral_at_30_digits(order, z, rate, exchanged):
    with mpmath.workdps(30):
        a, z_, q = (mpmath.mpf(value) for value in (order, z, rate))

        def density(x, moved):
            return (1 - q) * mpmath.npdf(x, 0, z_) + q * mpmath.npdf(x, moved, z_)

        def integrand(x):
            below = density(x, -1) if exchanged else mpmath.npdf(x, 0, z_)
            return density(x, 1) ** a * below ** (1 - a)

        ends = [-1 - 14 * z_, -1, 0, 1, a, a + 14 * z_]
        expected = float(mpmath.log(mpmath.quad(integrand, ends)) / (a - 1))
    assert _divergence(order, z, rate, exchanged) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("z", [0.3, 1.0, 4.0])
def test_without_sampling_it_is_a_gaussian(z):
    """a / (2 z^2) for one record, a 2^2 / (2 z^2) for one exchanged for another: it moves twice as far."""
    assert sampled_curve(z, 1.0, False) == pytest.approx(ORDERS / (2 * z**2), rel=1e-9)
    assert sampled_curve(z, 1.0, True) == pytest.approx(4 * ORDERS / (2 * z**2), rel=1e-9)


SETTINGS = [
    (z, rate, rounds, delta)
    for z in (0.3, 0.5, 0.8, 1.5, 4.0)
    for rate in (0.01, 0.1, 0.5)
    for rounds in (1, 100, 1000)
    for delta in (1e-3, 1e-7)
]


def grid_loss(settings, exchanged):
    """Return by how much the grid's best order loses against a continuous search around it, at most."""
    largest = 0.0
    for z, rate, rounds, delta in settings:
        curve = rounds * sampled_curve(z, rate, exchanged)
        found = least_epsilon(ORDERS, curve, delta)
        if not 0 < found < 1000:
            continue
        bounds = curve + np.log1p(-1 / ORDERS) - np.log(delta * ORDERS) / (ORDERS - 1)
        best = int(np.nanargmin(bounds))

        def bound(order, z=z, rate=rate, rounds=rounds, delta=delta):
            moved = rounds * _divergence(order, z, rate, exchanged)
            return moved + math.log1p(-1 / order) - math.log(delta * order) / (order - 1)

        around = ORDERS[max(best - 1, 0)], ORDERS[min(best + 1, len(ORDERS) - 1)]
        finest = minimize_scalar(bound, bounds=around, method="bounded", options={"xatol": 1e-6}).fun
        largest = max(largest, found - finest)
    return largest


def test_the_grid_of_orders_costs_less_than_0_005_at_a_large_epsilon():
    assert grid_loss([(0.5, 0.5, 100, 1e-3), (0.3, 0.1, 100, 1e-7)], exchanged=False) < 0.005


@pytest.mark.slow
@pytest.mark.parametrize("exchanged", [False, True])
def test_the_grid_of_orders_costs_less_than_0_005(exchanged):
    """Against a continuous search from the grid's best order, for every epsilon up to 1,000."""
    assert grid_loss(SETTINGS, exchanged) < 0.005


@pytest.mark.parametrize(
    ("z", "rate", "rounds", "delta", "before"),
    [
        (0.5, 0.1, 100, 1e-3, 30.3879),  # dp-accounting's default grid, which lost the orders that matter
        (0.3, 0.1, 100, 1e-3, 160.0064),
        (0.5, 0.5, 100, 1e-6, 212.6559),
    ],
)
def test_a_large_epsilon_is_no_longer_that_of_a_coarse_grid(z, rate, rounds, delta, before):
    """Each before the finer grid; and an upper bound still: never below privacy loss distributions."""
    epsilon = rdp_epsilon([("poisson", z, rate, 100, rounds)], delta)
    assert pld_epsilon([("poisson", z, rate, 100, rounds)], delta, 1e-2) - 0.5 < epsilon < before - 1


def hockey_stick(epsilon, z, rate):
    """Return delta(epsilon) of one release where one client is exchanged, by integrating the pair itself."""

    def excess(x):
        above = (1 - rate) * norm.pdf(x, 0, z) + rate * norm.pdf(x, 1, z)
        below = (1 - rate) * norm.pdf(x, 0, z) + rate * norm.pdf(x, -1, z)
        return max(above - math.exp(epsilon) * below, 0.0)

    return quad(excess, -1 - 12 * z, 1 + 12 * z, limit=500, points=[-1, 0, 1])[0]


@pytest.mark.parametrize(("z", "rate"), [(1.0, 0.1), (2.0, 0.5), (0.7, 0.05)])
def test_an_exchange_under_poisson_sampling_costs_what_its_own_pair_says(z, rate):
    """One round; the ledger holds s, half of z, because two updates are 2C apart."""
    delta = 1e-4
    epsilon = pld_epsilon([(EXCHANGED, z / 2, rate, 100, 1)], delta, 1e-3)
    assert hockey_stick(epsilon, z, rate) == pytest.approx(delta, rel=1e-2)
    assert epsilon <= rdp_epsilon([(EXCHANGED, z / 2, rate, 100, 1)], delta)


def charged(relation, z, rounds):
    accountant = Accountant(1e-3, 100)
    state = accountant.init()
    for _ in range(rounds):
        state = accountant.charge(Release(z, relation), POISSON, range(10), state)
    return accountant.epsilon(state), accountant.epsilon(state, tight=True)


def test_poisson_sampling_with_replace_one_is_accounted():
    """100 rounds at z = 2: more than adding or removing, far less than without amplification."""
    live, tight = charged("replace_one", 2.0, 100)
    assert (live.accountant, tight.accountant) == ("rdp", "pld")
    assert tight.value < live.value < tight.value * 1.25
    assert charged("add_remove", 2.0, 100)[1].value < tight.value < gaussian_epsilon(100 / 1.0**2, 1e-3) / 4


@pytest.mark.slow
def test_a_budget_under_replace_one_and_poisson_sampling_is_kept_and_used():
    z = noise_multiplier_for(20.0, 1e-3, POISSON, 5, "replace_one")
    tight = charged("replace_one", z, 5)[1].value
    assert 20.0 * 0.999 < tight <= 20.0
    assert z > noise_multiplier_for(20.0, 1e-3, POISSON, 5)


def test_hardly_any_noise_falls_back_to_what_needs_no_sampling():
    s = LEAST / 2
    assert rdp_epsilon([("poisson", s, 0.1, 100, 1)], 1e-3) == float("inf")
    accountant = Accountant(1e-3, 100)
    spent = accountant.epsilon(accountant.charge(Release(s, "add_remove"), POISSON, (), accountant.init()))
    assert spent.value == pytest.approx(gaussian_epsilon(1 / s**2, 1e-3))


def test_the_curve_is_where_epsilon_is_zero_too():
    """delta^2 above 1 - exp(-divergence): the Kullback-Leibler divergence alone bounds delta."""
    assert least_epsilon(ORDERS, np.full(len(ORDERS), 1e-9), 1e-3) == 0.0
    assert least_epsilon(ORDERS, np.full(len(ORDERS), np.inf), 1e-3) == float("inf")
