import math

import pytest
import torch

from gauntlet.core.contracts import NoGuarantee, Sampling
from gauntlet.core.seeds import generator
from gauntlet.privacy.accounting import Accountant
from gauntlet.privacy.accounting.calibration import calibrate
from gauntlet.privacy.clippings.parts import clip_finite_rows_l1, clip_rows_l1, row_norms_l1
from gauntlet.privacy.laplace import Laplace

FULL = Sampling("full", 10, 1.0, 10.0)
POISSON = Sampling("poisson", 100, 0.1, 10.0)


def spent(mechanism, sampling, rounds, cohort=(0,)):
    accountant = Accountant(mechanism.delta, sampling.num_clients)
    size = sampling.expected_size
    event = mechanism.event(mechanism.clip_norm / size, size, None)
    state = accountant.init()
    for _ in range(rounds):
        state = accountant.charge(event, sampling, cohort, state)
    return accountant.epsilon(state, tight=True)


def test_updates_are_clipped_in_l1_norm():
    """By hand: (3, -4) has L1 norm 7, so the bound 1 gives (3/7, -4/7); 1e30 does not overflow."""
    rows = torch.tensor([[3.0, -4.0], [0.3, -0.4], [1e30, 1e30], [0.0, 0.0]])
    clipped = clip_rows_l1(rows, 1.0)
    expected = torch.tensor([[3 / 7, -4 / 7], [0.3, -0.4], [0.5, 0.5], [0.0, 0.0]])
    assert torch.allclose(clipped, expected, rtol=3e-6)
    assert torch.equal(clip_rows_l1(clipped, 1.0), clipped)
    assert float(row_norms_l1(clipped).max()) <= 1.0
    with pytest.raises(ValueError, match=r"NaN or infinity in rows \[0\]"):
        clip_rows_l1(torch.tensor([[math.nan, 1.0]]), 1.0)
    assert clip_finite_rows_l1(torch.tensor([[math.nan, 9.0]]), 1.0)[0, 1] == 9.0


def test_a_run_costs_the_sum_of_pure_epsilons_or_less():
    """Dwork et al. (2006): epsilon = 1 / b a round at delta 0. One round: 1 / 2."""
    assert spent(Laplace(0.5, 2.0, delta=1e-9), FULL, 1).value == pytest.approx(0.5, rel=1e-3)
    many = spent(Laplace(0.5, 20.0, delta=1e-5), FULL, 100)
    assert many.value < 0.6 * 100 / 20
    assert many.accountant == "pld"


def test_an_exchanged_client_costs_twice_the_epsilon():
    exchanged = spent(Laplace(1.0, 2.0, delta=1e-9, relation="replace_one"), FULL, 1)
    assert exchanged.value == pytest.approx(1.0, rel=1e-3)


def test_poisson_sampling_amplifies_and_the_busiest_client_decides_elsewhere():
    mechanism = Laplace(1.0, 1.0, delta=1e-5)
    sampled = spent(mechanism, POISSON, 10)
    assert sampled.value == pytest.approx(1.17421, rel=1e-3)  # dp-accounting 0.6.0
    fixed = Sampling("fixed_size", 100, 0.1, 10.0)
    elsewhere = Laplace(1.0, 1.0, delta=1e-5, relation="zero_out")
    assert spent(elsewhere, fixed, 10, range(10)).value == pytest.approx(9.98996, rel=1e-3)  # likewise


def test_the_noise_has_the_scale_that_is_charged():
    """Laplace of scale b C / m: variance 2 (b C / m)^2, mean absolute value b C / m; within 2 %."""
    mechanism = Laplace(0.5, 3.0, delta=1e-5)
    drawn, _ = mechanism.noise(torch.zeros(200_000), 10.0, None, generator(0, "noise"))
    scale = mechanism.event(0.05, 10.0, None).shape[0] * 0.05
    assert scale == pytest.approx(0.15)
    assert float(drawn.double().var()) == pytest.approx(2 * scale**2, rel=0.02)
    assert float(drawn.double().abs().mean()) == pytest.approx(scale, rel=0.02)


@pytest.mark.parametrize(("sampling", "epsilon"), [(FULL, 2.0), (POISSON, 0.5)])
def test_calibration_inverts_the_accounting(sampling, epsilon):
    mechanism = calibrate(Laplace(1.0, epsilon=epsilon, delta=1e-5), sampling, 8)
    assert epsilon * (1 - 1e-3) <= spent(mechanism, sampling, 8).value <= epsilon


def test_what_proves_nothing_says_why():
    assert Laplace(1.0, 0.0).event(0.1, 10.0, None) == NoGuarantee("no_mechanism")
    assert Laplace(1.0, 1.0, delta=1e-5).event(None, 10.0, None) == NoGuarantee("aggregator")


def test_an_unknown_relation_is_refused():
    with pytest.raises(
        ValueError, match="relation must be one of add_remove, zero_out, replace_one, got 'x'"
    ):
        Laplace(1.0, 1.0, delta=1e-5, relation="x")
