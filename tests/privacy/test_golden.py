"""The golden table of the accountants, to 1e-3 relative.

Measured with dp-accounting 0.6.0 (privacy loss distributions on a grid of 1e-4, Renyi with its default
orders) and by the closed form; the last two columns of it were checked against Opacus and TF-Privacy.
"""

import math

import mpmath
import pytest

from gauntlet.core.contracts import Release, Sampling
from gauntlet.privacy.accounting import Accountant
from gauntlet.privacy.accounting.curves import gaussian_epsilon, pld_epsilon, rdp_epsilon
from gauntlet.privacy.accounting.divergences import ORDERS, amplified, epsilon_from

# Of dp-accounting's default orders, Renyi is up to 0.08 larger.
# (z, q, T, delta), exact, Renyi with close orders, Renyi with whole orders, privacy loss distributions
TABLE = [
    ((1.0, 1.0, 1, 1e-5), 4.37718, 4.7284, 4.7527, 4.3772),
    ((1.0, 1.0, 100, 1e-5), 91.81729, 96.0356, 110.1266, None),
    ((1.5, 0.04, 2250, 1e-5), None, 7.3284, 7.3299, 6.7688),
    ((1.0, 0.01, 1000, 1e-5), None, 2.1013, 2.1078, 1.8282),
    ((1.0, 0.1, 100, 1e-3), None, 5.6374, 5.6703, 4.7844),
    ((1.0, 0.1, 100, 100**-1.1), None, 4.5800, 4.7493, 3.7239),
    ((1.3, 150 / 60000, 6000, 1e-5), None, 0.7242, 0.7242, 0.6401),
    ((1.5, 0.05, 1000, 1e-6), None, 6.6678, 6.6910, 6.1997),
]


def poisson(case):
    z, q, rounds, _ = case
    return [("poisson", z, q, 60000, rounds)]


@pytest.mark.parametrize(("case", "exact", "renyi", "whole", "pld"), TABLE)
def test_every_accountant_has_its_golden_value(case, exact, renyi, whole, pld):
    z, _, rounds, delta = case
    if exact is not None:
        assert gaussian_epsilon(rounds / z**2, delta) == pytest.approx(exact, rel=1e-3)
    assert rdp_epsilon(poisson(case), delta) == pytest.approx(renyi, rel=1e-4)
    if pld is not None:
        assert pld_epsilon(poisson(case), delta, 1e-4) == pytest.approx(pld, rel=1e-3)


@pytest.mark.parametrize(("case", "exact", "renyi", "whole", "pld"), TABLE)
def test_a_formula_of_our_own_gives_the_golden_values_of_whole_orders(case, exact, renyi, whole, pld):
    """Mironov, Talwar, Zhang (2019), Section 3.3, by mpmath; the conversion of Canonne, Kamath, Steinke."""
    z, q, rounds, delta = case
    best = math.inf
    with mpmath.workdps(40):
        for alpha in (*range(2, 65), 96, 128):
            terms = [
                mpmath.binomial(alpha, k)
                * mpmath.mpf(1 - q) ** (alpha - k)
                * mpmath.mpf(q) ** k
                * mpmath.exp(mpmath.mpf(k * (k - 1)) / (2 * z**2))
                for k in range(alpha + 1)
            ]
            rho = rounds * mpmath.log(mpmath.fsum(terms)) / (alpha - 1)
            bound = rho + mpmath.log(mpmath.mpf(alpha - 1) / alpha)
            best = min(best, float(bound - (mpmath.log(delta) + mpmath.log(alpha)) / (alpha - 1)))
    assert best == pytest.approx(whole, rel=1e-3)


@pytest.mark.parametrize("case", [row[0] for row in TABLE if row[0][1] < 1])
def test_a_run_reports_the_smaller_of_the_two_analyses(case):
    z, q, rounds, delta = case
    accountant = Accountant(delta, 60000)
    state = accountant.charge(
        Release(z, "add_remove"), Sampling("poisson", 60000, q, q * 60000), [], accountant.init()
    )
    ((*entry, _),) = state["charges"]
    state = {**state, "charges": ((*entry, rounds),)}
    live, tight = accountant.epsilon(state), accountant.epsilon(state, tight=True)
    assert live.accountant == "rdp"
    assert tight.accountant == "pld"
    assert tight.value < live.value
    assert live.value == pytest.approx(rdp_epsilon(poisson(case), delta), rel=1e-12)


def test_the_amplification_of_any_curve_is_looser_than_the_gaussian_one_by_little():
    """Zhu and Wang's bound on a Gaussian's curve, golden: 2.6773 where the Gaussian's own is smaller."""
    general = epsilon_from(100 * amplified(ORDERS / (2 * 2.0**2), 0.1), 1e-3)
    assert general == pytest.approx(2.6773, rel=1e-3)
    assert rdp_epsilon([("poisson", 2.0, 0.1, 100, 100)], 1e-3) < general
