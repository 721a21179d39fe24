"""Skellam and the distributed discrete Gaussian: golden epsilons, discrete variances, shares."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.core.contracts import NoGuarantee, Release, Sampling
from gauntlet.core.seeds import generator
from gauntlet.core.updates import Updates
from gauntlet.privacy.accounting import Accountant
from gauntlet.privacy.accounting.calibration import calibrate
from gauntlet.privacy.accounting.curves import gaussian_epsilon
from gauntlet.privacy.discrete_gaussian import DiscreteGaussian, discrete_gaussian
from gauntlet.privacy.skellam import Skellam

KINDS = [Skellam, DiscreteGaussian]
# n, z, d, bits, q, T, delta, then Skellam, discrete Gaussian: measured with the authors' formulas, c = 1
TABLE = [
    (10, 2.0, 1024, 16, 1.0, 10, 1e-3, 6.2501, 6.2501),
    (10, 2.0, 1024, 12, 1.0, 10, 1e-3, 6.2799, 6.2799),
    (10, 2.0, 1024, 10, 1.0, 10, 1e-3, 6.5639, 6.5636),
    (10, 2.0, 1024, 8, 1.0, 10, 1e-3, 10.5931, 10.5783),
    (10, 2.0, 1024, 16, 0.1, 100, 1e-3, 2.6776, 2.6776),
    (100, 1.0, 4096, 18, 0.1, 100, 1e-5, 9.8241, 9.8241),
]


def spent(mechanism, sampling, rounds, cohort, amplified=False):
    """Return what rounds cost; ``amplified`` is the formula's own, no mechanism claims it."""
    accountant = Accountant(mechanism.delta, sampling.num_clients)
    size = sampling.expected_size
    event = mechanism.event(mechanism.clip_norm / size, size, mechanism.init())
    assert not event.amplified
    event = replace(event, amplified=amplified)
    state = accountant.init()
    for _ in range(rounds):
        state = accountant.charge(event, sampling, cohort, state)
    return accountant.epsilon(state)


@pytest.mark.parametrize(("n", "z", "d", "bits", "q", "rounds", "delta", "skellam", "gaussian"), TABLE)
def test_a_run_costs_its_golden_epsilon(n, z, d, bits, q, rounds, delta, skellam, gaussian):
    sampling = Sampling("full", n, 1.0, n) if q == 1 else Sampling("poisson", round(n / q), q, float(n))
    for kind, expected in ((Skellam, skellam), (DiscreteGaussian, gaussian)):
        mechanism = kind(1.0, z, delta=delta, bits=bits, k_stddevs=4.0, num_parameters=d)
        found = spent(mechanism, sampling, rounds, range(n), amplified=q < 1)
        assert found.value == pytest.approx(expected, rel=1e-3)
        assert found.accountant == "rdp"


@pytest.mark.parametrize("kind", KINDS)
def test_more_bits_bring_epsilon_down_to_the_gaussians(kind):
    full = Sampling("full", 10, 1.0, 10.0)
    costs = [
        spent(kind(1.0, 2.0, delta=1e-3, bits=b, num_parameters=1024), full, 10, range(10)).value
        for b in (8, 10, 12, 16, 20)
    ]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == pytest.approx(6.2491, rel=1e-3)  # the continuous one at the same orders
    assert costs[-1] > gaussian_epsilon(10 / 2.0**2, 1e-3)  # its exact value


@pytest.mark.parametrize("kind", KINDS)
def test_who_takes_part_shows_in_the_noise_so_that_sampling_amplifies_nothing(kind):
    sampling = Sampling("poisson", 100, 0.1, 10.0)
    mechanism = kind(1.0, 2.0, delta=1e-3, num_parameters=1024)
    known = spent(mechanism, sampling, 10, range(10)).value
    secret = spent(mechanism, sampling, 10, range(10), amplified=True).value
    assert known == pytest.approx(6.2501, rel=1e-3)
    assert secret < 0.3 * known


@pytest.mark.parametrize("kind", KINDS)
def test_an_exchanged_client_costs_like_half_the_noise(kind):
    full = Sampling("full", 10, 1.0, 10.0)
    exchanged = spent(
        kind(1.0, 4.0, delta=1e-3, relation="replace_one", bits=20, num_parameters=64), full, 3, [1]
    )
    left_out = spent(kind(1.0, 2.0, delta=1e-3, bits=20, num_parameters=64), full, 3, [1])
    assert exchanged.value == pytest.approx(left_out.value, rel=1e-3)


@pytest.mark.parametrize("std", [0.4, 0.7, 2.0, 300.0])
def test_a_discrete_gaussian_has_the_frequencies_of_its_definition(std):
    """Canonne, Kamath, Steinke (2020): p(x) ~ exp(-x^2 / 2 std^2), variance by the sum over integers."""
    x = np.arange(-int(12 * std) - 3, int(12 * std) + 4)
    p = np.exp(-(x**2) / (2 * std**2))
    variance = float((p * x**2).sum() / p.sum())
    drawn = discrete_gaussian(generator(0, "draw"), 200_000, std)
    assert drawn.dtype == np.int64
    assert float((drawn.astype(float) ** 2).mean()) == pytest.approx(variance, rel=0.02)
    assert abs(float(drawn.mean())) < 5 * math.sqrt(variance / 200_000)
    for value in (0, 1, -1, 2):
        chance = float(p[x == value][0] / p.sum())
        assert (drawn == value).mean() == pytest.approx(chance, abs=5 * math.sqrt(chance / 200_000) + 1e-9)
    assert not discrete_gaussian(generator(0, "draw"), 5, 0.0).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [10, 16])
@pytest.mark.parametrize("max_dropouts", [0, 3])
def test_the_sum_of_the_counted_shares_has_the_noise_that_is_charged(kind, bits, max_dropouts):
    """zero updates: variance of the decoded sum = (z C)^2 (shares / shares counted on), within 2 %."""
    mechanism = kind(0.5, 2.0, delta=1e-3, bits=bits, max_dropouts=max_dropouts)
    updates = Updates(torch.zeros(10, 65536), torch.arange(10), torch.ones(10, dtype=torch.int64))
    everyone = torch.ones(10, dtype=torch.bool)
    summed, state = mechanism.secure_sum(
        updates, everyone, mechanism.init(), generator(0, "signs"), lambda i: generator(0, "share", i)
    )
    event = mechanism.event(0.05, 10.0, state)
    variance = float(summed.vectors.double().square().mean())
    assert summed.vectors.shape == (1, 65536)
    assert variance == pytest.approx((event.noise_multiplier * 0.5) ** 2 * 10 / (10 - max_dropouts), rel=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_two_rounds_and_two_clients_draw_apart(kind):
    mechanism = kind(0.5, 2.0, delta=1e-3)
    updates = Updates(torch.zeros(1, 4096), torch.arange(1), torch.ones(1, dtype=torch.int64), 1.0)

    def drawn(*ids):
        streams = lambda i: generator(0, "share", *ids, i)  # noqa: E731
        honest = torch.ones(1, dtype=torch.bool)
        return mechanism.secure_sum(updates, honest, mechanism.init(), generator(0, "s"), streams)[0].vectors[
            0
        ]

    one, two = drawn(0).double(), drawn(1).double()
    assert torch.equal(drawn(0).double(), one)
    assert abs(float((one * two).mean() / one.var())) < 5 / math.sqrt(4096)


@pytest.mark.parametrize("kind", KINDS)
def test_fewer_honest_shares_than_counted_on_prove_nothing(kind):
    mechanism = kind(1.0, 2.0, delta=1e-3, max_dropouts=2, num_parameters=64)
    updates = Updates(torch.zeros(10, 64), torch.arange(10), torch.ones(10, dtype=torch.int64))
    for honest, released in ((10, True), (8, True), (7, False), (0, False)):
        mask = torch.arange(10) < honest
        _, state = mechanism.secure_sum(
            updates, mask, mechanism.init(), generator(0, "s"), lambda i: generator(0, "share", i)
        )
        event = mechanism.event(0.1, 10.0, state)
        assert isinstance(event, Release) == released
        assert released or event == NoGuarantee("distributed_shares")


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_share_leaves_less_noise(kind):
    """By hand: 2 of 10 shares missing leave z sqrt(0.8) = 0.894 z."""
    mechanism = kind(1.0, 1.0, delta=1e-3)
    updates = Updates(torch.zeros(10, 65536), torch.arange(10), torch.ones(10, dtype=torch.int64))
    summed, _ = mechanism.secure_sum(
        updates, torch.arange(10) < 8, mechanism.init(), generator(0, "s"), lambda i: generator(0, "share", i)
    )
    assert float(summed.vectors.double().std()) == pytest.approx(0.894, rel=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_stays_away_shows_in_the_noise_and_no_relation_says_that_it_does_not(kind):
    """Ten or nine shares: variances 10 to 9, told apart every time with 16,384 coordinates.

    The Kullback-Leibler divergence is d / 2 (r - 1 - log r) = 47 with r = 10 / 9, where one client's message
    alone costs an epsilon of 0.35.
    """
    mechanism = kind(1.0, 8.0, delta=1e-3, bits=24, max_dropouts=1, num_parameters=16384)

    def noise(clients, number):
        updates = Updates(
            torch.zeros(clients, 16384), torch.arange(clients), torch.ones(clients).long(), 10.0
        )
        streams = lambda i: generator(0, "share", number, clients, i)  # noqa: E731
        honest, signs = torch.ones(clients, dtype=torch.bool), generator(0, "s", number)
        total, state = mechanism.secure_sum(updates, honest, mechanism.init(), signs, streams)
        assert isinstance(mechanism.event(0.1, 10.0, state), Release)
        return float(total.vectors.double().square().mean())

    with_it, without = ([noise(clients, t) for t in range(40)] for clients in (10, 9))
    assert min(with_it) > max(without)
    assert mechanism.relation == "zero_out"
    with pytest.raises(ValueError, match="whoever stays away adds no share"):
        replace(mechanism, relation="add_remove")


@pytest.mark.parametrize("kind", KINDS)
def test_calibration_inverts_the_accounting(kind):
    sampling = Sampling("full", 20, 1.0, 20.0)
    mechanism = calibrate(kind(0.3, epsilon=3.0, delta=1e-4), sampling, 6, num_parameters=500)
    assert mechanism.num_parameters == 500
    assert 3.0 * (1 - 1e-3) <= spent(mechanism, sampling, 6, range(20)).value <= 3.0


@pytest.mark.parametrize("kind", KINDS)
def test_a_defense_that_moves_further_than_the_mean_proves_nothing(kind):
    mechanism = kind(1.0, 2.0, delta=1e-3, num_parameters=64)
    assert mechanism.event(0.11, 10.0, mechanism.init()) == NoGuarantee("aggregator")
    assert kind(1.0, 0.0).event(0.1, 10.0, mechanism.init()) == NoGuarantee("no_mechanism")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 1}, "bits must be between 2 and 40, got 1"),
        ({"beta": 1.0}, "beta must be at least 0 and below 1, got 1.0"),
        ({"k_stddevs": 0.0}, "k_stddevs must be finite and above 0, got 0.0"),
        ({"max_dropouts": -1}, "max_dropouts must be at least 0, got -1"),
        ({"relation": "swap"}, "relation must be one of"),
        ({"clip_norm": 0.0}, "clip_norm must be finite and at least 1e-20"),
    ],
)
def test_options_out_of_range_are_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**{"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-3, **options})


@pytest.mark.parametrize("kind", KINDS)
def test_dropouts_that_leave_nobody_and_an_unknown_size_are_named(kind):
    mechanism = kind(1.0, 1.0, delta=1e-3, max_dropouts=10, num_parameters=4)
    with pytest.raises(ValueError, match="max_dropouts must be below the expected cohort of 10, got 10"):
        mechanism.event(0.1, 10.0, mechanism.init())
    with pytest.raises(ValueError, match="num_parameters is not known yet"):
        kind(1.0, 1.0, delta=1e-3).event(0.1, 10.0, mechanism.init())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_client_whose_update_is_not_finite_sends_zero_and_its_share_of_noise(kind, broken):
    """Left out by the server it would take its share along, and the noise would tell what its data were."""
    vectors = torch.ones(3, 5)
    vectors[1, 2:] = broken
    updates = Updates(vectors, torch.arange(3), torch.ones(3, dtype=torch.int64))
    sent = (
        kind(1.0, 2.0, delta=1e-3, num_parameters=5).privatize(updates, lambda _: generator(0, "x")).vectors
    )

    assert sent[1].tolist() == [0.0] * 5
    assert sent[::2].norm(dim=1).tolist() == pytest.approx([1.0, 1.0])
