"""The bound settles at the target quantile from either side, and never runs away."""

import math

import numpy as np
import pytest
import torch

from gauntlet.core.contracts import PublicFacts
from gauntlet.core.seeds import generator
from gauntlet.privacy.clippings.quantile import Quantile
from gauntlet.privacy.gaussian import Gaussian
from gauntlet.privacy.parts.bound import Bound

ROUNDS = 300


def path(clipping, start, norms_of, m=100.0, z=1.0, rounds=ROUNDS, size=4) -> np.ndarray:
    """Return C of each round, through the mechanism's own bound; ``norms_of`` draws a round's norms."""
    bound, found = Bound(clipping, start, "add_remove"), []
    state = bound.init()
    for t in range(rounds):
        norms = torch.from_numpy(np.asarray(norms_of(t), dtype=np.float64))
        state = {**state, "clipped_at": state["clip_norm"], "norms": norms}
        found.append(state["clipped_at"])
        state = bound.move(z, m, size, state, generator(3, "noise", t))
    return np.array(found)


def lognormal(m: int, seed: int = 0):
    """Norms with median 1 and a spread of 0.5 in the logarithm."""
    return lambda t: np.exp(0.5 * generator(seed, "norms", t).standard_normal(m))


@pytest.mark.parametrize("std", [None, 0.0], ids=["noised", "bare"])
@pytest.mark.parametrize("start", [1e-3, 1e3])
@pytest.mark.parametrize(("gamma", "quantile"), [(0.5, 1.0), (0.8, math.exp(0.5 * 0.8416212))])
def test_the_bound_settles_at_the_target_quantile_from_afar(start, std, gamma, quantile):
    """Andrew et al. (2021), Section 3; the quantile of a log-normal is exp(0.5 Phi^-1(gamma)).

    The mean of the last 100 of 300 rounds, within 5 %, with and without noise on the count.
    """
    found = path(Quantile(target_unclipped=gamma, count_noise_std=std), start, lognormal(100))
    assert found[-100:].mean() == pytest.approx(quantile, rel=0.05)


@pytest.mark.parametrize("start", [1e-3, 1e3])
def test_it_settles_in_small_poisson_cohorts_too(start):
    """m = 10 of N = 100, automatic noise (z = 1 clients) on a count of five: the mean within 10 %."""

    def cohort(t):
        came = int((generator(1, "came", t).random(100) < 0.1).sum())
        return lognormal(came, 1)(t)

    found = path(Quantile(), start, cohort, m=10.0, rounds=600)
    assert found[-400:].mean() == pytest.approx(1.0, rel=0.10)


@pytest.mark.parametrize("start", [1e-3, 1e3])
def test_real_updates_through_the_whole_mechanism_settle_alike(start, cohort):
    """300 rounds of clip, noise and move at z = 1, m = 100, on vectors of log-normal norms."""
    mechanism = Gaussian(start, noise_multiplier=1.0, delta=1e-3, clipping="quantile")
    state, found = mechanism.init(), []
    for t in range(ROUNDS):
        vectors = torch.zeros(100, 3)
        vectors[:, 1] = torch.from_numpy(lognormal(100)(t))
        _, state = mechanism.clip(cohort(vectors, 100.0), state)
        found.append(mechanism.clipped_at(state))
        _, state = mechanism.noise(torch.zeros(3), 100.0, state, generator(3, "noise", t))
    assert np.mean(found[-100:]) == pytest.approx(1.0, rel=0.05)


def test_the_approach_has_its_golden_times():
    """Log-normal(0, 0.5), m = 100, sigma_b = 5: from 1e-3 and 1e3 within 10 % first at round 76 to 84."""
    for start in (1e-3, 1e3):
        found = path(Quantile(count_noise_std=5.0), start, lognormal(100))
        first = int(np.flatnonzero(np.abs(found - 1) < 0.1)[0])
        assert 72 <= first <= 88
        assert found[200:].std() < 0.06  # 0.038 told


def test_it_grows_and_shrinks_by_at_most_a_tenth_a_round():
    """By hand: exp(0.2 * 0.5) with nobody, exp(-0.2 * 0.5) with everybody under C."""
    facts = PublicFacts(2.0, 1.0, 4, 100.0)
    assert Quantile().move(0.0, facts) == pytest.approx(2 * math.exp(0.1))
    assert Quantile().move(1.0, facts) == pytest.approx(2 * math.exp(-0.1))
    assert Quantile().move(0.5, facts) == 2.0
    assert Quantile(geometric=False).move(1.0, facts) == pytest.approx(1.9)


def test_an_update_as_long_as_the_bound_fits_under_it():
    fits = Quantile().statistic(torch.tensor([0.0, 1.9, 2.0, 2.1]), PublicFacts(2.0, 1.0, 4, 4.0))
    assert fits.tolist() == [1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize("start", [0.2, 30.0])
@pytest.mark.parametrize(("gamma", "low", "high"), [(0.5, 4.75, 5.25), (0.0, 0.0, 0.35), (1.0, 9.5, 40.0)])
def test_evenly_spread_norms_have_their_quantiles(start, gamma, low, high):
    """As TensorFlow Privacy tests it: norms 0 ... 10, the median within 5.0 +- 0.25 from both sides.

    At 0 nobody should fit: C ends below almost all norms; at 1 everybody, and C never comes down.
    """
    found = path(
        Quantile(target_unclipped=gamma, count_noise_std=0.0), start, lambda t: np.linspace(0, 10, 101)
    )
    assert low <= found[-100:].mean() <= high


@pytest.mark.parametrize("start", [0.1, 10.0])
def test_equal_norms_are_met_from_both_sides(start):
    found = path(Quantile(count_noise_std=0.0), start, lambda t: np.ones(100))
    assert found[-100:].mean() == pytest.approx(1.0, rel=0.1)  # it steps over 1 by 10 % and back


def test_a_step_in_units_of_the_norm_settles_too():
    found = path(Quantile(geometric=False), 5.0, lognormal(100))
    assert found[-100:].mean() == pytest.approx(1.0, rel=0.05)


@pytest.mark.parametrize("start", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(("gamma", "m", "z"), [(0.1, 10, 2.75), (0.2, 5, 3.5), (0.9, 10, 2.75)])
def test_strong_noise_on_the_count_does_not_move_the_quantile(start, gamma, m, z):
    """A mean cut off at 0 and 1 has the noise's own mean near either end: C ran to its limits.

    Poisson cohorts of m, noise of z clients on the count; the share of a log-normal(0, 0.5) under C,
    Phi(2 log C), averages gamma over the last 600 of 1200 rounds, within 0.06.
    """

    def cohort(t):
        return lognormal(int(generator(1, "came", t).binomial(10 * m, 0.1)), 1)(t)

    found = path(Quantile(target_unclipped=gamma), start, cohort, m=float(m), z=z, rounds=1200)
    under = [0.5 * (1 + math.erf(math.log(c) / 0.5 / math.sqrt(2))) for c in found[-600:]]
    assert np.mean(under) == pytest.approx(gamma, abs=0.06)


def test_updates_of_zero_drive_the_bound_to_its_least_and_not_below():
    found = path(Quantile(clip_min=0.01), 1.0, lambda t: np.zeros(100), rounds=200)
    assert found[-1] == 0.01


def test_flowers_rule_runs_away_where_this_one_settles():
    """flwr 1.41 counts the clipped: from 0.9 it fell to 4.6e-9 in 200 rounds, from 1.1 it rose to 2.5e8."""

    class Flower(Quantile):
        def statistic(self, norms, facts):
            return 1 - super().statistic(norms, facts)

    ends = [path(Flower(count_noise_std=0.0), c, lognormal(100), rounds=201)[-1] for c in (0.9, 1.1)]
    assert ends[0] < 1e-3
    assert ends[1] > 1e3
