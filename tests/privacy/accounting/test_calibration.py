from dataclasses import dataclass

import pytest

from gauntlet.core.contracts import Release, Sampling
from gauntlet.privacy.accounting import Accountant
from gauntlet.privacy.accounting.calibration import calibrate, noise_multiplier_for
from gauntlet.privacy.gaussian import Gaussian
from gauntlet.privacy.local_gaussian import LocalGaussian
from gauntlet.privacy.no_privacy import NoPrivacy

POISSON = Sampling("poisson", 100, 0.1, 10.0)
FIXED = Sampling("fixed_size", 100, 0.1, 10.0)
FULL = Sampling("full", 100, 1.0, 100.0)
OTHER = Sampling("other", 100, 0.1, 10.0)


def spent_by(mechanism, sampling, rounds, cohort) -> float:
    accountant = Accountant(mechanism.delta, sampling.num_clients)
    event = mechanism.event(mechanism.clip_norm / sampling.expected_size, sampling.expected_size, None)
    state = accountant.init()
    for _ in range(rounds):
        state = accountant.charge(event, sampling, cohort, state)
    value = accountant.epsilon(state, tight=True).value
    assert value is not None
    return value


@pytest.mark.parametrize(("epsilon", "z"), [(1.0, 2.754), (8.0, 0.7784)])
def test_poisson_sampling_needs_its_golden_noise(epsilon, z):
    """N = 100, m = 10, T = 100, delta = 1e-3."""
    assert noise_multiplier_for(epsilon, 1e-3, POISSON, 100) == pytest.approx(z, rel=1e-2)


def test_one_full_round_needs_the_noise_of_balle_and_wang():
    """Balle and Wang (2018): epsilon = 1, delta = 1e-5 needs s = 3.7306; T rounds sqrt(T)."""
    assert noise_multiplier_for(1.0, 1e-5, FULL, 1) == pytest.approx(3.7306, rel=2e-4)
    assert noise_multiplier_for(1.0, 1e-5, FULL, 9) == pytest.approx(3 * 3.7306, rel=2e-4)
    assert noise_multiplier_for(1.0, 1e-5, FULL, 1, "replace_one") == pytest.approx(2 * 3.7306, rel=2e-4)
    assert noise_multiplier_for(1.0, 1e-5, POISSON, 4, "replace_one", amplified=False) == pytest.approx(
        4 * 3.7306, rel=2e-4
    )


@pytest.mark.parametrize(
    ("sampling", "relation", "epsilon"),
    [
        (POISSON, "add_remove", 3.0),
        (POISSON, "zero_out", 0.2),
        pytest.param(POISSON, "replace_one", 3.0, marks=pytest.mark.slow),
        pytest.param(FIXED, "replace_one", 4.0, marks=pytest.mark.slow),
        (FIXED, "zero_out", 4.0),
        (FULL, "replace_one", 0.5),
        (OTHER, "zero_out", 40.0),
    ],
)
def test_a_calibrated_run_spends_its_budget_and_never_more(sampling, relation, epsilon):
    wish = Gaussian(clip_norm=0.5, epsilon=epsilon, delta=1e-4, relation=relation)
    mechanism = calibrate(wish, sampling, 20)
    assert (mechanism.epsilon, mechanism.clip_norm, mechanism.relation) == (None, 0.5, relation)
    assert epsilon * (1 - 1e-3) <= spent_by(mechanism, sampling, 20, [3, 4]) <= epsilon


def test_a_calibrated_local_run_spends_its_budget_and_never_more():
    mechanism = calibrate(LocalGaussian(clip_norm=1.0, epsilon=2.0, delta=1e-5), POISSON, 7)
    assert isinstance(mechanism.event(None, 10.0, None), Release)
    assert 2.0 * (1 - 1e-3) <= spent_by(mechanism, POISSON, 7, [3]) <= 2.0


def test_what_needs_no_calibration_comes_back_as_it_is():
    @dataclass(frozen=True)
    class Foreign:
        epsilon: float = 1.0

    for mechanism in (NoPrivacy(), Gaussian(1.0, noise_multiplier=1.0, delta=1e-5), Foreign()):
        assert calibrate(mechanism, POISSON, 10) is mechanism


@pytest.mark.parametrize(
    ("sampling", "relation"), [(OTHER, "replace_one"), (OTHER, "add_remove"), (FIXED, "add_remove")]
)
def test_a_relation_that_the_sampling_cannot_prove_is_refused_with_the_allowed_ones(sampling, relation):
    wish = Gaussian(clip_norm=1.0, epsilon=1.0, delta=1e-5, relation=relation)
    with pytest.raises(
        ValueError, match=rf"'{sampling.scheme}' with relation '{relation}'; allowed: poisson and full"
    ):
        calibrate(wish, sampling, 10)


@pytest.mark.parametrize(
    ("epsilon", "delta", "rounds", "message"),
    [
        (-1.0, 1e-5, 1, "epsilon must be finite and above 0, got -1.0"),
        (float("nan"), 1e-5, 1, "epsilon must be finite and above 0, got nan"),
        (1.0, 0.0, 1, "delta must be between 0 and 1, both excluded, got 0.0"),
        (1.0, 1e-5, 0, "rounds must be at least 1, got 0"),
    ],
)
def test_a_budget_out_of_range_is_refused(epsilon, delta, rounds, message):
    with pytest.raises(ValueError, match=message):
        noise_multiplier_for(epsilon, delta, POISSON, rounds)
