import math

import mpmath
import numpy as np
import pytest

from gauntlet.privacy.accounting.divergences import (
    ORDERS,
    amplified,
    curve_of,
    discrete_gaussian_tau,
    epsilon_from,
    shaped_epsilons,
)


def at(curve, order: int) -> float:
    return float(curve[int(np.flatnonzero(order == ORDERS)[0])])


@pytest.mark.parametrize("order", [2, 3, 17, 128])
@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_the_curve_of_laplace_noise_is_the_integral_of_its_definition(order, scale):
    """Renyi (1961): log E_q[(p/q)^a] / (a - 1), by mpmath's quadrature of two shifted densities."""
    with mpmath.workdps(30):
        one, a = mpmath.mpf(1) / scale, mpmath.mpf(order)

        def ratio(x):
            return mpmath.exp(-a * abs(x) * one - (1 - a) * abs(x - 1) * one) * one / 2

        wide = 60 * scale
        integral = mpmath.quad(ratio, [-wide, -1, 0, 0.5, 1, 2, wide])
        expected = float(mpmath.log(integral) / (a - 1))
    assert at(curve_of("laplace", (scale,)), order) == pytest.approx(expected, rel=1e-6)


def test_ten_laplace_releases_cost_what_dp_accounting_says():
    """dp-accounting 0.6.0, Laplace(1) ten times at 1e-5: 9.9903 by Renyi, 9.98996 by PLD; pure: 10."""
    bounds = shaped_epsilons([("laplace", (1.0,), 1.0, 10)], 10.0, 1e-5, tight=True)
    assert bounds["pure"] == pytest.approx(10.0)
    assert bounds["pld"] == pytest.approx(9.98996, rel=1e-3)
    assert 9.99 <= bounds["rdp"] < 14.0  # whole orders only


def test_a_sampled_laplace_release_costs_what_dp_accounting_says():
    """dp-accounting 0.6.0, Poisson(0.1, Laplace(1)) ten times at 1e-5: PLD 1.17421; pure: by hand."""
    bounds = shaped_epsilons([("laplace", (1.0,), 0.1, 10)], None, 1e-5, tight=True)
    assert bounds["pld"] == pytest.approx(1.17421, rel=1e-3)
    assert bounds["pure"] == pytest.approx(10 * math.log(1 + 0.1 * (math.e - 1)), rel=1e-12)
    assert bounds["rdp"] >= bounds["pld"]


def test_very_little_noise_does_not_overflow():
    bounds = shaped_epsilons([("laplace", (1e-4,), 0.1, 1)], None, 1e-5, tight=True)
    assert bounds["pure"] == pytest.approx(1e4 + math.log(0.1))
    assert shaped_epsilons([("laplace", (1e-4,), 1.0, 1)], 1.0, 1e-5, tight=False)["pure"] == 1e4


def test_sampling_at_rate_one_amplifies_nothing_and_at_a_small_rate_by_its_square():
    """By hand: the leading term of the bound at order 2 is log(1 + q^2 (e^e(2) - 1))."""
    curve = ORDERS * 0.1
    assert np.all(amplified(curve, 0.3) <= curve)
    q = 1e-3
    expected = math.log((1 - q) * (1 + q) + q**2 * math.exp(0.2))
    assert at(amplified(curve, q), 2) == pytest.approx(expected, rel=1e-9)
    assert np.array_equal(curve_of("skellam", (1.0, 1.0, 50.0), 1.0), curve_of("skellam", (1.0, 1.0, 50.0)))


def test_much_skellam_noise_costs_what_a_gaussian_of_its_variance_does():
    """By hand at order 2, D2 = 10, D1 = 100, mu = 400: 0.25 + (3 * 100 + 600) / (4 * 400^2)."""
    gaussian = ORDERS / (2 * 4.0)
    fine = curve_of("skellam", (1e4, 1e5, 4e8))
    coarse = curve_of("skellam", (10.0, 100.0, 400.0))
    assert np.allclose(fine, gaussian, rtol=1e-3)
    assert at(coarse, 2) == pytest.approx(0.25140625, rel=1e-12)


def test_tau_is_the_sum_of_its_definition():
    """Kairouz, Liu, Steinke (2021), Theorem 1, two shares: 10 exp(-2 pi^2 sigma^2 / 2)."""
    assert discrete_gaussian_tau(2, 0.25) == pytest.approx(10 * math.exp(-(math.pi**2) / 4), rel=1e-12)
    assert discrete_gaussian_tau(1, 0.25) == 0.0


def test_busy_clients_count_rounds_and_sampled_ones_all_of_them():
    shapes = [("skellam", (1.0, 1.0, 100.0), 0.1, 50)]
    ten = shaped_epsilons(shapes, 10.0, 1e-5, tight=False)["rdp"]
    expected = epsilon_from(10 * curve_of("skellam", (1.0, 1.0, 100.0)), 1e-5)
    assert ten == pytest.approx(expected)
    assert shaped_epsilons(shapes, None, 1e-5, tight=False)["rdp"] < ten
    assert shaped_epsilons([], None, 1e-5, tight=False) == {"rdp": 0.0}
