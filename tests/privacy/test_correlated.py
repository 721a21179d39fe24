"""DP-FTRL: noise that hangs together over rounds, by tree and by banded factorisation."""

import math

import numpy as np
import pytest
import torch

from gauntlet.core.contracts import NoGuarantee, Release, Sampling
from gauntlet.core.seeds import generator
from gauntlet.core.trees import equal, pack, unpack
from gauntlet.privacy.accounting import Accountant
from gauntlet.privacy.accounting.calibration import calibrate, fitted, worst_precision
from gauntlet.privacy.accounting.curves import gaussian_epsilon
from gauntlet.privacy.banded_mf import BandedMF
from gauntlet.privacy.gaussian import Gaussian
from gauntlet.privacy.parts.factorization import banded_rows, dense
from gauntlet.privacy.tree import Tree, changed_nodes

FULL = Sampling("full", 10, 1.0, 10.0)
FIXED = Sampling("fixed_size", 100, 0.1, 10.0)


def turns(period: int) -> Sampling:
    return Sampling("round_robin", 10 * period, 1 / period, 10.0, period)


def noises(mechanism, rounds: int, size: int = 20_000, begin=None, first: int = 0):
    """Return each round's noise on the sum [T, size] for C = 1 and m = 1, and the state after."""
    state, found = begin or mechanism.init(), []
    for t in range(first, rounds):
        noised, state = mechanism.noise(torch.zeros(size), 1.0, state, generator(0, "noise", t))
        found.append(noised.double())
    return torch.stack(found), state


def ledger_of(mechanism, cohorts, delta=1e-5, sampling=FULL):
    accountant, state = Accountant(delta, 1000), mechanism.init()
    ledger, values = accountant.init(), []
    for t, cohort in enumerate(cohorts):
        _, state = mechanism.noise(torch.zeros(1), 1.0, state, generator(0, "noise", t))
        event = mechanism.event(mechanism.clip_norm, 1.0, state)
        ledger = accountant.charge(event, sampling, cohort, ledger)
        values.append(accountant.epsilon(ledger).value)
    return ledger, values


# ---- tree -----------------------------------------------------------------------------------------------


def test_a_prefix_has_the_noise_of_as_many_nodes_as_its_length_has_ones_in_binary():
    """Kairouz et al. (2021): variance popcount(t) z^2 C^2, within the chi-square band of 20000 draws."""
    drawn, _ = noises(Tree(1.0, 2.0, delta=1e-5), 16)
    for t, prefix in enumerate(drawn.cumsum(dim=0), start=1):
        ratio = float(prefix.square().mean()) / (t.bit_count() * 4.0)
        assert ratio == pytest.approx(1.0, abs=0.065), t  # 6.5 standard deviations


def test_a_nodes_noise_is_the_same_whenever_it_is_read():
    """By hand: prefixes 4 and 5 share node [0, 4), so that their difference has variance z^2 alone."""
    drawn, _ = noises(Tree(1.0, 2.0, delta=1e-5), 8)
    prefix = drawn.cumsum(dim=0)
    assert float((prefix[4] - prefix[3]).var()) == pytest.approx(4.0, rel=0.065)
    assert float((prefix[7] * prefix[6]).mean()) == pytest.approx(0.0, abs=0.3)  # 8 = 1000, 7 = 0111


def test_the_nodes_that_change_are_those_of_a_binary_counter():
    """By hand: 1 adds [0,1); 2 swaps it for [0,2); 4 = 100 replaces 2 and 1 of 3 = 11."""
    assert changed_nodes(1) == [(1, 1.0)]
    assert changed_nodes(2) == [(2, 1.0), (1, -1.0)]
    assert changed_nodes(4) == [(4, 1.0), (3, -1.0), (2, -1.0)]
    assert changed_nodes(6) == [(6, 1.0), (5, -1.0)]


@pytest.mark.parametrize("rounds", [1, 2, 8, 16, 64])
def test_the_first_leaf_is_in_all_levels_and_no_leaf_in_more(rounds):
    """floor(log2 n) + 1 nodes on the way up, n a power of two."""
    nodes = np.zeros(rounds, dtype=int)
    for t, mixing in enumerate(Tree(1.0, 1.0, delta=1e-5).mixings(rounds)):
        nodes[t + 1 - len(mixing) : t + 1] += 1
    assert nodes[0] == nodes.max() == int(math.log2(rounds)) + 1


@pytest.mark.parametrize(("rounds", "z", "epsilon"), [(16, 4.0, 2.2582), (100, 1.0, 14.1912)])
def test_one_participation_costs_its_golden_epsilon(rounds, z, epsilon):
    """Exact: a Gaussian of z / sqrt(levels), delta = 1e-5, for the worst round: the first."""
    _, values = ledger_of(Tree(1.0, z, delta=1e-5), [[t] for t in range(rounds)])
    assert values[-1] == pytest.approx(epsilon, rel=1e-3)
    assert values == sorted(values)


def test_a_restart_begins_a_new_tree_and_is_charged_apart():
    """One client in the first leaf of each of 3 trees of 4: 3 levels each, a Gaussian of z / sqrt(9)."""
    mechanism = Tree(1.0, 6.0, delta=1e-5, restart_every=4)
    cohorts = [[7] if t % 4 == 0 else [50 + t] for t in range(12)]
    _, values = ledger_of(mechanism, cohorts)
    assert values[-1] == pytest.approx(gaussian_epsilon(9 / 36.0, 1e-5), rel=1e-9)
    drawn, _ = noises(mechanism, 12)
    for t, prefix in enumerate(drawn.cumsum(dim=0), start=1):
        nodes = (t // 4) + (t % 4).bit_count()  # a finished tree of 4 is one node
        assert float(prefix.square().mean()) == pytest.approx(36.0 * nodes, rel=0.065)


def test_two_rounds_in_one_node_cost_four_times_one():
    """By hand, T = 4, z = 1: rounds 0 and 1 of a client lie in nodes {0}, {0,1}, {0..3}: 1 + 4 + 4."""
    ledger, _ = ledger_of(Tree(1.0, 1.0, delta=1e-5), [[3], [3], [9], [9]])
    spent = dict(zip(ledger["clients"].tolist(), ledger["precisions"].tolist(), strict=True))
    assert spent == {3: 9.0, 9: 1.0 + 4.0}  # client 9: {2} and {0..3}


def test_no_noise_is_plain_averaging_to_the_bit():
    aggregate = torch.linspace(-1, 1, 50)
    for mechanism in (Tree(1.0, 0.0), BandedMF(1.0, 3, 0.0, rounds=9)):
        noised, state = mechanism.noise(aggregate, 10.0, mechanism.init(), generator(0, "noise"))
        assert torch.equal(noised, aggregate)
        assert mechanism.event(0.1, 10.0, state) == NoGuarantee("no_mechanism")


# ---- banded factorisation -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["optimal", "sqrt_toeplitz"])
@pytest.mark.parametrize("bands", [1, 3, 9])
def test_the_noise_is_the_dense_inverse_times_fresh_noise(kind, bands):
    """C^-1 Z by numpy, with the Z that the rounds' streams give."""
    mechanism = BandedMF(1.0, bands, 2.0, delta=1e-5, rounds=9, factorization=kind)
    drawn, _ = noises(mechanism, 9, 50)
    fresh = np.stack([generator(0, "noise", t).standard_normal(50) * 2.0 for t in range(9)])
    expected = np.linalg.inv(dense(banded_rows(kind, 9, bands))) @ fresh
    assert np.allclose(drawn.numpy(), expected, atol=1e-5)


def test_one_band_is_the_gaussian_mechanism_to_the_bit():
    banded, plain = BandedMF(0.7, 1, 1.3, delta=1e-5, rounds=4), Gaussian(0.7, 1.3, delta=1e-5)
    one, state = banded.noise(torch.ones(99), 10.0, banded.init(), generator(0, "noise"))
    two, _ = plain.noise(torch.ones(99), 10.0, None, generator(0, "noise"))
    assert torch.equal(one, two)
    assert state["noises"] == ()


def test_a_client_every_b_rounds_costs_one_gaussian_a_participation():
    """Choquette-Choo et al. (2023): k = T / b participations cost a Gaussian of z / sqrt(k), exactly."""
    mechanism = BandedMF(1.0, 4, 3.0, delta=1e-5, rounds=16)
    _, values = ledger_of(mechanism, [[t % 4] for t in range(16)], sampling=turns(4))
    assert values[-1] == pytest.approx(gaussian_epsilon(4 / 9.0, 1e-5), rel=1e-6)
    assert values == sorted(values)


def test_a_client_that_comes_too_early_is_charged_for_what_it_really_cost():
    """By hand: norm of the sum of two neighbouring columns of the golden C of T = 4, squared."""
    mechanism = BandedMF(1.0, 4, 1.0, delta=1e-5, rounds=4)
    ledger, _ = ledger_of(mechanism, [[5], [5], [], []])
    columns = dense(banded_rows("optimal", 4, 4))
    assert float(ledger["precisions"][0]) == pytest.approx(((columns[:, 0] + columns[:, 1]) ** 2).sum())
    assert float(ledger["precisions"][0]) > 3  # more than the 2 of two rounds far apart


def test_at_equal_epsilon_a_factorisation_beats_the_tree_and_the_tree_beats_plain_noise():
    """T = 64, one participation each: mean variance of all prefixes, 4.4 to 5 < 21 < 32.5 for z^2 = 1."""
    banded = noises(BandedMF(1.0, 64, 1.0, delta=1e-5, rounds=64), 64, 4000)[0].cumsum(dim=0)
    tree = noises(Tree(1.0, 7**0.5, delta=1e-5), 64, 4000)[0].cumsum(dim=0)  # 7 levels
    plain = noises(BandedMF(1.0, 1, 1.0, delta=1e-5, rounds=64), 64, 4000)[0].cumsum(dim=0)
    errors = [float(p.square().mean()) for p in (banded, tree, plain)]
    assert errors == pytest.approx([4.41, 7 * 193 / 64, 32.5], rel=0.05)  # 193: ones in 1 ... 64


# ---- both -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mechanism", [Tree(1.0, 2.0, delta=1e-5), BandedMF(1.0, 3, 2.0, delta=1e-5, rounds=11)], ids=repr
)
def test_the_noise_goes_on_to_the_bit_after_a_checkpoint(mechanism):
    whole, last = noises(mechanism, 11, 100)
    _, middle = noises(mechanism, 5, 100)
    restored = unpack(*pack(middle))
    rest, end = noises(mechanism, 11, 100, restored, 5)
    assert torch.equal(whole[5:], rest)
    assert equal(last, end)


def test_the_memory_of_a_band_is_its_width_and_of_a_tree_nothing():
    _, state = noises(BandedMF(1.0, 3, 2.0, delta=1e-5, rounds=9), 9, 100)
    assert [tuple(n.shape) for n in state["noises"]] == [(100,), (100,)]
    _, state = noises(Tree(1.0, 2.0, delta=1e-5), 9, 100)
    assert state.keys() == {"round", "key"}


@pytest.mark.parametrize(
    ("mechanism", "sampling"),
    [
        (Tree(0.5, epsilon=3.0, delta=1e-5), FULL),
        (Tree(0.5, epsilon=3.0, delta=1e-5), turns(4)),
        (Tree(0.5, epsilon=3.0, delta=1e-5, restart_every=5), FIXED),
        (BandedMF(0.5, 4, epsilon=0.7, delta=1e-5), turns(4)),
        (BandedMF(0.5, 1, epsilon=0.7, delta=1e-5), FULL),
    ],
    ids=repr,
)
def test_calibration_inverts_the_accounting(mechanism, sampling):
    """The worst client that the sampler allows spends the budget, and never more."""
    calibrated = calibrate(mechanism, sampling, 12)
    period = sampling.min_separation
    _, values = ledger_of(calibrated, [[t % period] for t in range(12)], sampling=sampling)
    target = mechanism.epsilon
    assert target * (1 - 1e-3) <= values[-1] <= target


def test_the_worst_client_is_found_by_hand():
    """T = 4, plain tree: every round costs 1 + 4 + 1 + 16; every other one from round 0: 1 + 1 + 1 + 4."""
    mixings = list(Tree(1.0, 1.0, delta=1e-5).mixings(4))
    assert mixings == [(1.0,), (1.0, 1.0), (1.0,), (1.0, 1.0, 1.0, 1.0)]
    assert worst_precision(mixings, 1) == 22.0
    assert worst_precision(mixings, 2) == 7.0
    assert worst_precision(mixings, 4) == 3.0


def test_a_sampler_that_cannot_promise_the_distance_is_refused():
    mechanism = BandedMF(1.0, 4, 1.0, delta=1e-5)
    message = "must be at least 4 apart, and sampling 'fixed_size' promises 1; use sampler round_robin"
    with pytest.raises(ValueError, match=message):
        fitted(mechanism, FIXED, 12)
    assert fitted(mechanism, turns(4), 12).rounds == 12
    with pytest.raises(ValueError, match="at least 3 apart"):
        fitted(Tree(1.0, 1.0, delta=1e-5, min_separation=3), turns(2), 12)


def test_a_sampler_that_lets_a_client_come_too_often_is_refused():
    mechanism = Tree(1.0, 1.0, delta=1e-5, max_participations=3)
    assert fitted(mechanism, turns(4), 12) is mechanism
    message = "at most 3 rounds, and sampling 'round_robin' allows 4 of 16; use .* period of at least 6"
    with pytest.raises(ValueError, match=message):
        fitted(mechanism, turns(4), 16)


def test_neither_sampling_nor_an_exchanged_client_is_accounted():
    """No amplification, whatever the sampler; zero_out only."""
    event = Release(1.0, "replace_one", amplified=False, mixing=(1.0,))
    accountant = Accountant(1e-5, 100)
    assert (
        accountant.epsilon(accountant.charge(event, FULL, [1], accountant.init())).reason
        == "sampling_mismatch"
    )
    poisson = Sampling("poisson", 100, 0.1, 10.0)
    _, sampled = ledger_of(Tree(1.0, 4.0, delta=1e-5), [[1]] * 4, sampling=poisson)
    _, certain = ledger_of(Tree(1.0, 4.0, delta=1e-5), [[1]] * 4)
    assert sampled == certain


def test_a_ledger_that_misses_earlier_rounds_proves_nothing():
    event = Release(1.0, "zero_out", amplified=False, mixing=(0.5, 1.0))
    accountant = Accountant(1e-5, 100)
    state = accountant.charge(event, FULL, [1], accountant.init())
    assert accountant.epsilon(state).reason == "sampling_mismatch"


def test_a_matrix_that_is_too_short_or_unknown_is_named():
    state = {"round": 4, "noises": ()}
    with pytest.raises(ValueError, match=r"made for 4 rounds, got round 4 \(from 0\)"):
        BandedMF(1.0, 1, 1.0, delta=1e-5, rounds=4).noise(torch.zeros(1), 1.0, state, generator(0, "n"))
    with pytest.raises(ValueError, match="rounds is not known yet"):
        BandedMF(1.0, 1, 1.0, delta=1e-5).event(1.0, 1.0, state)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tree(1.0, 1.0, delta=1e-5, restart_every=0), "restart_every must be at least 1, got 0"),
        (lambda: Tree(1.0, 1.0, delta=1e-5, min_separation=0), "min_separation must be at least 1, got 0"),
        (lambda: Tree(1.0, 1.0, delta=1e-5, max_participations=0), "max_participations must be at least 1"),
        (lambda: BandedMF(1.0, 0, 1.0, delta=1e-5), "bands must be at least 1, got 0"),
        (lambda: BandedMF(1.0, 5, 1.0, delta=1e-5, rounds=4), "bands must be at most the 4 rounds, got 5"),
        (lambda: BandedMF(1.0, 2, 1.0, delta=1e-5, factorization="x"), "must be one of optimal, sqrt"),
    ],
)
def test_options_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
