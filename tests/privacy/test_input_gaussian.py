"""Noise on records: how much, and that a run is charged for it once."""

from math import sqrt

import numpy as np
import pytest

from gauntlet.core.contracts import Release, Sampling
from gauntlet.core.seeds import generator
from gauntlet.privacy.accounting import Accountant
from gauntlet.privacy.accounting.curves import gaussian_epsilon
from gauntlet.privacy.input_gaussian import InputGaussian

FULL = Sampling("full", 3, 1.0, 3.0)
POISSON = Sampling("poisson", 100, 0.1, 10.0)


@pytest.mark.parametrize(("epsilon", "std"), [(0.0650, 88), (0.0399, 143), (0.0357, 160), (0.0317, 180)])
def test_the_noise_for_an_epsilon_is_the_published_one(epsilon, std):
    """Arcolezi et al. 2022: sqrt(2 ln(1.25 / 1e-7)) / epsilon, whole counts."""
    assert round(InputGaussian(delta=1e-7, epsilon=epsilon).std) == std


def test_a_person_in_six_regions_takes_more_noise_for_the_same_epsilon():
    alone, everywhere = (InputGaussian(1e-7, 0.065, sensitivity=s) for s in (1.0, sqrt(6)))

    assert everywhere.std == pytest.approx(sqrt(6) * alone.std)
    assert everywhere.noise_multiplier == pytest.approx(alone.noise_multiplier)


def test_noised_counts_are_whole_and_each_cell_has_its_own_noise():
    records = np.full((500, 40), 10_000)
    noised = InputGaussian(delta=1e-7, noise_std=30.0).perturb(records, generator(0, "input noise"))
    noise = (noised - records).astype(float)

    assert noised.dtype == records.dtype
    assert noise.std() == pytest.approx(30, rel=0.02)
    assert abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 6 / sqrt(noise.size)
    assert abs(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]) < 6 / sqrt(noise.size)


@pytest.mark.parametrize("sampling", [FULL, POISSON], ids=lambda s: s.scheme)
def test_a_run_of_any_length_costs_one_release(sampling):
    """The exact Gaussian of sigma / sensitivity = 88: less than the 0.065 of the formula."""
    mechanism = InputGaussian(delta=1e-7, epsilon=0.065)
    accountant = Accountant(1e-7, sampling.num_clients)
    ledger, spent = accountant.init(), []
    for cohort in ([0, 1, 2], [], [1]):
        ledger = accountant.charge(mechanism.event(None, 3.0, None), sampling, cohort, ledger)
        spent.append(accountant.epsilon(ledger).value)

    assert spent == [gaussian_epsilon(1 / mechanism.std**2, 1e-7)] * 3
    assert spent[0] == pytest.approx(0.0450, abs=1e-4)
    assert accountant.epsilon(ledger).reason is None


def test_two_different_releases_of_the_data_prove_nothing_together():
    accountant = Accountant(1e-7, 3)
    ledger = accountant.charge(Release(80.0, "add_remove", False, once=True), FULL, [0], accountant.init())
    other = accountant.charge(Release(90.0, "add_remove", False, once=True), FULL, [0], ledger)
    mixed = accountant.charge(Release(80.0, "add_remove", False), FULL, [0], ledger)

    assert accountant.epsilon(other).reason == "sampling_mismatch"
    assert accountant.epsilon(mixed).reason == "sampling_mismatch"


def test_an_exchanged_record_costs_as_much_as_half_the_noise():
    accountant = Accountant(1e-7, 3)
    ledger = accountant.charge(Release(80.0, "replace_one", False, once=True), FULL, [0], accountant.init())

    assert accountant.epsilon(ledger).value == pytest.approx(gaussian_epsilon(1 / 40**2, 1e-7))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0.1, "noise_std": 3.0}, "give epsilon or noise_std, got 0.1 and 3.0"),
        ({}, "give epsilon or noise_std, got None and None"),
        ({"epsilon": 1.5}, "epsilon must be above 0 and at most 1, .* got 1.5; give noise_std"),
        ({"noise_std": 0.0}, "noise_std must be finite and above 0, got 0.0"),
        ({"noise_std": 1.0, "sensitivity": float("inf")}, "sensitivity must be finite and above 0, got inf"),
        ({"epsilon": 0.1, "delta": 0.0}, "delta must be between 0 and 1"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        InputGaussian(**{"delta": 1e-7, **options})
