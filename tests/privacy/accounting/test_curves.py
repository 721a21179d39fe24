import logging
import math
import subprocess
import sys

import mpmath
import numpy as np
import pytest

from gauntlet.privacy.accounting.curves import gaussian_epsilon, gaussian_log_delta, pld_epsilon, rdp_epsilon


def poisson(z: float, q: float, rounds: int):
    return [("poisson", z, q, 100, rounds)]


def wor(s: float, rounds: int = 100):
    return [("fixed_size", s, 0.1, 100, rounds)]


@pytest.mark.parametrize(
    ("z", "rounds", "delta", "epsilon"),
    [
        (1.0, 1, 1e-5, 4.37718),
        (1.0, 100, 1e-5, 91.81729),
        (4.22, 1, 1e-6, 1.0012),
        (1.54, 1, 1e-6, 3.0084),
        (0.541, 1, 1e-6, 10.0019),
        (0.5, 1, 1e-5, 9.9973),  # z = 1 where one client is exchanged for another
        (3.7306, 1, 1e-5, 1.0),  # Balle and Wang: the classical calibration would need 4.845
    ],
)
def test_the_exact_gaussian_has_its_published_values(z, rounds, delta, epsilon):
    assert gaussian_epsilon(rounds / z**2, delta) == pytest.approx(epsilon, abs=1e-4)


@pytest.mark.parametrize("mu", [1e-3, 0.1, 1.0, 10.0, 100.0])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0, 1.5])
def test_the_exact_gaussian_delta_agrees_with_mpmath_at_80_digits(mu, share):
    """Balle and Wang (2018), Theorem 8, evaluated independently."""
    epsilon = share * (mu**2 / 2 + 3 * mu)
    with mpmath.workdps(80):
        phi, m, e = mpmath.ncdf, mpmath.mpf(mu), mpmath.mpf(epsilon)
        expected = float(mpmath.log(phi(m / 2 - e / m) - mpmath.exp(e) * phi(-m / 2 - e / m)))
    assert gaussian_log_delta(epsilon, mu) == pytest.approx(expected, rel=1e-8, abs=1e-8)


def test_the_exact_epsilon_spends_delta_and_no_more():
    """delta(epsilon(delta)) = delta, approached from the safe side."""
    for precision in (1e-4, 0.3, 5.0, 4000.0):
        for delta in (1e-10, 1e-5, 1e-3):
            epsilon = gaussian_epsilon(precision, delta)
            log_delta = gaussian_log_delta(epsilon, math.sqrt(precision))
            assert log_delta <= math.log(delta) + 1e-9
            if epsilon > 0:
                assert log_delta == pytest.approx(math.log(delta), abs=1e-6)


def test_noise_so_large_that_delta_covers_it_costs_nothing():
    """By hand: delta(0) = 2 Phi(mu / 2) - 1, about mu * 0.3989, below 1e-3 for mu = 1e-3."""
    assert gaussian_epsilon(1e-6, 1e-3) == 0.0
    assert gaussian_epsilon(0.0, 1e-9) == 0.0


@pytest.mark.parametrize(
    ("z", "q", "rounds", "delta", "library", "epsilon"),
    [
        (1.0, 1.0, 1, 1e-5, 4.7285, 4.72839),
        (1.0, 1.0, 100, 1e-5, 96.1163, 96.03563),
        (1.5, 0.04, 2250, 1e-5, 7.3293, 7.32837),
        (1.0, 0.01, 1000, 1e-5, 2.1014, 2.10132),
        (1.0, 0.1, 100, 1e-3, 5.6551, 5.63739),
        (1.0, 0.1, 100, 100**-1.1, 4.6157, 4.58004),
        (1.3, 150 / 60000, 6000, 1e-5, 0.7242234, 0.7242234),  # TF-Privacy prints 0.7242234026 at order 19
        (1.5, 0.05, 1000, 1e-6, 6.6680, 6.66781),
        (35.0, 5 / 3120, 62400, 1e-7, 0.0509, 0.04906),
    ],
)
def test_renyi_accounting_of_poisson_sampling_has_its_golden_values(z, q, rounds, delta, library, epsilon):
    """Never above dp-accounting on its default grid; the rest is won by orders that lie closer.

    Where nothing is sampled, by hand: the least of T a / 2 + ln(1 - 1 / a) - ln(delta a) / (a - 1).
    """
    found = rdp_epsilon(poisson(z, q, rounds), delta)
    assert found == pytest.approx(epsilon, abs=1e-5)
    assert found < library + 1e-4
    if q == 1:
        orders = np.linspace(1.001, 30, 300_000)
        by_hand = rounds * orders / 2 + np.log1p(-1 / orders) - np.log(delta * orders) / (orders - 1)
        assert found == pytest.approx(by_hand.min(), abs=5e-3)


def test_renyi_accounting_agrees_with_an_independent_formula():
    """Mironov, Talwar, Zhang (2019), Section 3.3: A_alpha as a finite sum, here by mpmath."""
    z, q, rounds, delta = 1.0, 0.05, 200, 1e-5
    epsilons = []
    with mpmath.workdps(60):
        for alpha in range(2, 64):
            terms = (
                mpmath.binomial(alpha, k)
                * (1 - mpmath.mpf(q)) ** (alpha - k)
                * mpmath.mpf(q) ** k
                * mpmath.exp(mpmath.mpf(k * (k - 1)) / (2 * z**2))
                for k in range(alpha + 1)
            )
            rdp = rounds * mpmath.log(mpmath.fsum(terms)) / (alpha - 1)
            gain = mpmath.log(mpmath.mpf(alpha - 1) / alpha)
            epsilons.append(rdp + gain - (mpmath.log(delta) + mpmath.log(alpha)) / (alpha - 1))
    whole = float(min(epsilons))
    ours = rdp_epsilon(poisson(z, q, rounds), delta)
    assert whole - 0.02 <= ours <= whole + 1e-9  # fractional orders may only gain


def test_renyi_accounting_agrees_with_opacus():
    """Opacus' own accountant on its documented example: 7.32911117143."""
    accountants = pytest.importorskip("opacus.accountants")
    accountant = accountants.RDPAccountant()
    accountant.history = [(1.5, 0.04, 2250)]
    assert accountant.get_epsilon(delta=1e-5) == pytest.approx(7.32911117143, abs=1e-6)
    assert rdp_epsilon(poisson(1.5, 0.04, 2250), 1e-5) == pytest.approx(7.32911117143, abs=2e-3)


@pytest.mark.parametrize(
    ("z", "q", "rounds", "delta", "interval", "epsilon", "tolerance"),
    [
        (1.5, 0.04, 2250, 1e-5, 1e-3, 6.7688, 0.005),
        (1.0, 0.01, 1000, 1e-5, 1e-3, 1.8282, 0.005),
        (1.0, 0.1, 100, 1e-3, 1e-3, 4.7844, 0.005),
        (1.0, 0.1, 100, 100**-1.1, 1e-3, 3.7239, 0.005),
        (1.5, 0.05, 1000, 1e-6, 1e-3, 6.1997, 0.005),
        (1.3, 150 / 60000, 6000, 1e-5, 1e-4, 0.6401, 0.001),
        (35.0, 5 / 3120, 62400, 1e-7, 1e-4, 0.0616, 0.0005),  # looser than Renyi's 0.0509
        (35.0, 5 / 3120, 62400, 1e-7, 1e-5, 0.0455, 0.0005),
        (1.0, 0.1, 1, 1e-5, 1e-3, 1.6845, 0.002),
    ],
)
def test_privacy_loss_distributions_have_their_golden_values(
    z, q, rounds, delta, interval, epsilon, tolerance
):
    assert pld_epsilon(poisson(z, q, rounds), delta, interval) == pytest.approx(epsilon, abs=tolerance)


@pytest.mark.parametrize(
    ("s", "delta", "epsilon"),
    [
        (1.0, 100**-1.1, 8.9733),
        (2.0, 100**-1.1, 3.3411),
        (0.5, 100**-1.1, 77.49),
        (1.0, 1e-3, 10.8154),
        (2.0, 1e-3, 3.9845),
        (0.5, 1e-3, 79.33),
    ],
)
def test_sampling_without_replacement_has_its_golden_values(s, delta, epsilon):
    """100 rounds of 10 among 100 clients; s is half of the noise multiplier."""
    assert rdp_epsilon(wor(s), delta) == pytest.approx(epsilon, abs=2e-3)


def test_rounds_counted_together_or_apart_cost_the_same():
    together = rdp_epsilon(poisson(1.0, 0.1, 30), 1e-5)
    apart = rdp_epsilon(poisson(1.0, 0.1, 10) + poisson(1.0, 0.1, 20), 1e-5)
    assert apart == pytest.approx(together, rel=1e-12)
    assert pld_epsilon(poisson(1.0, 0.1, 10) + poisson(1.0, 0.1, 20), 1e-5, 1e-3) == pytest.approx(
        pld_epsilon(poisson(1.0, 0.1, 30), 1e-5, 1e-3), abs=1e-3
    )


def test_epsilon_grows_with_rounds_and_rate_and_falls_with_noise_and_delta():
    base = rdp_epsilon(poisson(1.0, 0.1, 50), 1e-5)
    assert rdp_epsilon(poisson(1.0, 0.1, 51), 1e-5) > base
    assert rdp_epsilon(poisson(1.0, 0.11, 50), 1e-5) > base
    assert rdp_epsilon(poisson(1.1, 0.1, 50), 1e-5) < base
    assert rdp_epsilon(poisson(1.0, 0.1, 50), 1e-4) < base
    assert rdp_epsilon([], 1e-5) == 0.0


def test_the_library_is_not_heard_complaining_about_single_orders(caplog):
    """dp-accounting warns at q = 0.1, z = 1; its logger is left as it was."""
    level = logging.getLogger("absl").level
    rdp_epsilon(poisson(0.999, 0.1, 3), 1e-5)
    assert not [r for r in caplog.records if "converge" in r.getMessage()]
    assert logging.getLogger("absl").level == level


def test_importing_the_family_loads_neither_scipy_nor_the_accounting_library():
    code = (
        "import sys, gauntlet.privacy.accounting, gauntlet.privacy.accounting.calibration;"
        "import gauntlet.privacy.contract;"
        "print([m for m in ('scipy', 'dp_accounting') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
