"""An adaptive bound inside the Gaussian mechanism: what clips, what noises, what is charged."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from clipped_rounds import gaussian, one_round, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from gauntlet.core.contracts import NoGuarantee, Release, Sampling
from gauntlet.core.declarations import clipped_at
from gauntlet.core.guards import guard
from gauntlet.core.seeds import generator
from gauntlet.core.trees import equal, pack, unpack
from gauntlet.privacy import PRIVACY
from gauntlet.privacy.accounting import Accountant
from gauntlet.privacy.accounting.calibration import calibrate
from gauntlet.privacy.clippings.quantile import Quantile
from gauntlet.privacy.contract import CHECKS
from gauntlet.privacy.gaussian import Gaussian
from gauntlet.privacy.local_gaussian import LocalGaussian
from gauntlet.privacy.parts.bound import Bound, joint

ADAPTIVE = ["quantile", "moo"]
SERVER_ALONE = [*ADAPTIVE, "per_layer"]
TOGETHER = ["fixed", "autos", "autov", "psac"]


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("relation", ["add_remove", "replace_one", "zero_out"])
@pytest.mark.parametrize("clipping", [*SERVER_ALONE, *TOGETHER])
def test_a_mechanism_keeps_its_contract_with_every_clipping(clipping, relation, check):
    check(guard(gaussian(clipping, relation=relation), clipping))


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("clipping", TOGETHER)
def test_local_noise_keeps_its_contract_with_every_clipping_that_a_client_can_do(clipping, check):
    check(LocalGaussian(0.7, noise_multiplier=1.3, delta=1e-5, clipping=clipping))


@pytest.mark.parametrize(
    ("z", "std", "z_delta"),
    [(1.0, 5.0, 1.005038), (1.0, 0.55, 2.400397), (1.0, 0.6, 1.809068), (0.6, 0.5, 0.75)],
)
def test_the_models_noise_has_its_golden_multiplier_and_the_ledger_the_joint_one(z, std, z_delta, cohort):
    """Andrew et al. (2021), Theorem 1: z_delta = (z^-2 - (2 sigma_b)^-2)^(-1/2)."""
    mechanism = gaussian(z=z, clip_norm=1.0, count_noise_std=std)
    assert mechanism.noise_std(1.0, mechanism.init()) == pytest.approx(z_delta, abs=1e-6)
    _, _, event = one_round(mechanism, cohort(rows_of([0.5, 2.0])), mechanism.init(), 2.0)
    assert event == Release(z, "add_remove")


@settings(max_examples=100, deadline=None)
@given(z=st.floats(1e-2, 1e2), times=st.floats(1.001, 1e3))
def test_a_split_and_its_parts_together_are_the_same_multiplier(z, times):
    """The identity z_delta^-2 + (2 sigma_b)^-2 = z^-2, for all z and sigma_b."""
    bound = Bound(Quantile(count_noise_std=z * times / 2), 1.0, "add_remove")
    z_delta = bound.model_multiplier(z, 10.0)
    assert z_delta**-2 + (z * times) ** -2 == pytest.approx(z**-2, rel=1e-9)
    assert joint(z_delta, z * times) == pytest.approx(z, rel=1e-9)


@pytest.mark.parametrize(
    ("relation", "z", "m", "std"),
    [
        ("add_remove", 1.0, 100.0, 5.0),  # the paper's m / 20
        ("add_remove", 1.0, 10.0, 1.0),  # m / 20 = 0.5 is impossible: 2 * 0.5 is not above z
        ("add_remove", 2.754, 10.0, 2.754),
        ("replace_one", 1.0, 10.0, 1.0),
        ("zero_out", 1.0, 10.0, 2.0),  # sensitivity 1: sigma_b stands where 2 sigma_b stood
    ],
)
def test_the_noise_on_the_count_is_chosen_by_the_larger_of_m_over_20_and_z(relation, z, m, std):
    bound = Bound(Quantile(), 1.0, relation)
    assert bound.count_noise_std(z, m) == std
    assert bound.model_multiplier(z, m) <= 2 / math.sqrt(3) * z * (1 + 1e-12)  # 1.1547 z


@pytest.mark.parametrize(("relation", "least"), [("add_remove", "0.5"), ("zero_out", "1")])
def test_a_count_that_costs_more_than_z_allows_is_refused_at_construction(relation, least):
    with pytest.raises(ValueError, match=rf"count_noise_std must be above {least} for noise_multiplier 1, "):
        gaussian(relation=relation, count_noise_std=0.5)
    with pytest.raises(ValueError, match="count_noise_std must be above"):
        replace(
            Gaussian(1.0, epsilon=1.0, delta=1e-3, clipping={"name": "moo", "count_noise_std": 0.2}),
            noise_multiplier=1.0,
            epsilon=None,
        )


@pytest.mark.parametrize("clipping", ADAPTIVE)
def test_a_calibrated_run_costs_its_budget_with_the_statistic_and_without(clipping):
    """N = 100, m = 10, T = 100, delta = 1e-3: epsilon 8 needs z = 0.7784 jointly."""
    sampling = Sampling("poisson", 100, 0.1, 10.0)
    wish = Gaussian(1.0, epsilon=8.0, delta=1e-3, clipping=clipping)
    mechanism = calibrate(wish, sampling, 100)
    assert mechanism.noise_multiplier == pytest.approx(0.7784, rel=1e-2)
    state, accountant = mechanism.init(), Accountant(1e-3, 100)
    event = mechanism.event(1.0 / 10.0, 10.0, state)
    assert event == Release(mechanism.noise_multiplier, "add_remove")
    ledger = accountant.init()
    for _ in range(100):
        ledger = accountant.charge(event, sampling, [], ledger)
    assert 7.9 < accountant.epsilon(ledger, tight=True).value <= 8.0


@pytest.mark.parametrize("clipping", ADAPTIVE)
def test_the_clip_norm_that_clips_is_the_one_that_scales_the_noise(clipping, cohort):
    """100,000 coordinates: the noise is z_delta C_t / m within 2 %, C_t moving by 10 % a round."""
    mechanism, m = gaussian(clipping, z=0.9, clip_norm=2.0), 40.0
    updates = cohort(rows_of([1e-3] * 20 + [50.0] * 20, size=100_000), m)
    z_delta = joint(0.9, 2 * 2.0, sign=-1)  # sigma_b = m / 20 = 2
    state, bounds = mechanism.init(), []
    for t in range(6):
        clipped, state = mechanism.clip(updates, state)
        longest = float(clipped.vectors.norm(dim=1).max())
        quiet = torch.zeros(100_000)
        noised, state = mechanism.noise(quiet, m, state, generator(1, "noise", t))
        measured = float(noised.double().std())
        bounds.append(clipped_at(mechanism, state))
        assert longest == pytest.approx(bounds[-1], rel=1e-5)
        assert measured == pytest.approx(z_delta * bounds[-1] / m, rel=0.02)
        assert mechanism.event(bounds[-1] / m, m, state) == Release(0.9, "add_remove")
        updates = cohort(updates.vectors * 3, m)
    assert len(set(bounds)) == 6


def test_the_count_has_the_noise_that_is_charged_and_a_sensitivity_of_one_half():
    """20,000 draws from the same C tell the noised count: sigma_b within 2 %, around the true count.

    One client more, fitting or not, moves it by 1/2.
    """
    bound, m = Bound(Quantile(count_noise_std=3.0, clip_lr=1.0), 1.0, "add_remove"), 100.0

    def count(fits: int, clipped: int, stream: np.random.Generator) -> float:
        norms = torch.tensor([0.5] * fits + [9.0] * clipped, dtype=torch.float64)
        state = bound.move(1.0, m, 4, {"clip_norm": 1.0, "clipped_at": 1.0, "norms": norms}, stream)
        return -math.log(state["clip_norm"]) * m  # C exp(-(b - 1/2)), b - 1/2 = noised sum / m

    stream = generator(2, "noise")
    drawn = np.array([count(33, 27, stream) for _ in range(20_000)])
    assert drawn.std() == pytest.approx(3.0, rel=0.02)
    assert drawn.mean() == pytest.approx(33 - 60 / 2, abs=6 * 3.0 / math.sqrt(20_000))
    for neighbour, moved in (((34, 27), 0.5), ((33, 28), -0.5)):
        apart = count(*neighbour, generator(4, "noise")) - count(33, 27, generator(4, "noise"))
        assert apart == pytest.approx(moved, abs=1e-9)


def test_the_counts_denominator_is_public_and_not_the_number_of_clients_that_came(cohort):
    """By hand: 3 fitting clients of an expected 10, no noise: b = 3/20 + 1/2 = 0.65, C = exp(-0.2 * 0.15)."""
    mechanism = gaussian(z=0.0, clip_norm=1.0)
    _, state, _ = one_round(mechanism, cohort(rows_of([0.1] * 3), 10.0), mechanism.init(), 10.0)
    assert state["clip_norm"] == pytest.approx(math.exp(-0.2 * 0.15), rel=1e-12)


@pytest.mark.parametrize("clipping", ADAPTIVE)
def test_an_empty_cohort_is_noised_and_charged_and_says_nothing_of_the_norms(clipping, cohort):
    mechanism = gaussian(clipping)
    noised, state, event = one_round(mechanism, cohort(torch.zeros(0, 5)), mechanism.init(), 10.0)
    assert bool((noised != 0).all())
    assert event == Release(1.0, "add_remove")
    assert state["clipped_at"] == 0.7
    drift, spread = {"quantile": (0.0, 0.02), "moo": (0.2, 0.08)}[
        clipping
    ]  # lr (1/2 - gamma); 4 lr (1/2 - 1/4)
    assert abs(math.log(state["clip_norm"] / 0.7) - drift) < 3 * spread


@pytest.mark.parametrize("clipping", [*SERVER_ALONE, *TOGETHER])
def test_zero_and_huge_updates_are_safe_and_broken_ones_are_refused(clipping, cohort):
    """Flower 1.41: division by zero, NaN that passes unclipped, 1e30 that becomes 0."""
    mechanism = gaussian(clipping)
    clipped, _ = mechanism.clip(cohort(rows_of([0.0, 1e30])), mechanism.init())
    lengths = clipped.vectors.double().norm(dim=1)
    assert lengths[0] == 0
    assert float(lengths[1]) == pytest.approx(0.7, rel=3e-6)
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match=r"NaN or infinity in rows \[1\]"):
            mechanism.clip(cohort(rows_of([1.0, bad])), mechanism.init())


@pytest.mark.parametrize("clipping", SERVER_ALONE)
def test_a_bound_that_a_client_cannot_know_is_applied_by_the_server_alone(clipping, cohort):
    mechanism, updates = gaussian(clipping), cohort(rows_of([9.0, 0.1]))
    assert mechanism.server_clips_alone
    assert not mechanism.settled  # workers that sum before the server clips would leave C without effect
    assert torch.equal(mechanism.privatize(updates, lambda i: generator(0, "n", i)).vectors, updates.vectors)


@pytest.mark.parametrize("clipping", TOGETHER)
def test_a_constant_bound_is_applied_by_clients_and_a_liar_gains_nothing(clipping, cohort):
    mechanism, updates = gaussian(clipping), cohort(rows_of([9.0, 0.1]))
    sent = mechanism.privatize(updates, lambda i: generator(0, "n", i))
    assert not mechanism.server_clips_alone
    assert float(sent.vectors.norm(dim=1).max()) <= 0.7
    assert torch.equal(mechanism.clip(sent, None)[0].vectors, sent.vectors)
    assert float(mechanism.clip(updates, None)[0].vectors.norm(dim=1).max()) <= 0.7


@pytest.mark.parametrize("clipping", ADAPTIVE)
def test_a_statistic_without_noise_proves_nothing_and_no_noise_at_all_neither(clipping, cohort):
    bare = gaussian(clipping, count_noise_std=0.0)
    _, _, event = one_round(bare, cohort(rows_of([1.0])), bare.init(), 10.0)
    assert event == NoGuarantee("private_clip")
    silent = gaussian(clipping, z=0.0)
    aggregate, _, event = one_round(silent, cohort(rows_of([0.1])), silent.init(), 1.0)
    assert event == NoGuarantee("no_mechanism")
    assert torch.equal(aggregate, rows_of([0.1])[0])


@pytest.mark.parametrize("sensitivity", [None, math.inf, math.nan, 0.0, -1.0])
def test_a_defense_of_unknown_sensitivity_proves_nothing(sensitivity):
    mechanism = gaussian()
    assert mechanism.event(sensitivity, 10.0, mechanism.init()) == NoGuarantee("aggregator")


def test_a_defense_of_twice_the_sensitivity_pays_twice_for_the_model_and_once_for_the_count():
    """By hand: z = 1, sigma_b = 1: z_delta^-2 = 1 - 1/4; twice the sensitivity: (4 * 3/4 + 1/4)^(-1/2)."""
    mechanism = gaussian(z=1.0, clip_norm=0.3)
    event = mechanism.event(2 * 0.3 / 10.0, 10.0, mechanism.init())
    assert isinstance(event, Release)
    assert event.noise_multiplier == pytest.approx(3.25**-0.5, rel=1e-9)


@pytest.mark.parametrize("clipping", ADAPTIVE)
def test_the_memory_holds_no_norms_after_the_noise_and_the_path_goes_on_alike_after_a_checkpoint(
    clipping, cohort
):
    mechanism, state, path = gaussian(clipping), None, []
    for resumed in (False, True):
        state = mechanism.init()
        for t in range(8):
            if resumed and t == 4:
                skeleton, tensors = pack(state)
                assert not tensors
                state = unpack(json.loads(json.dumps(skeleton)), tensors)
            updates = cohort(rows_of(0.3 + 0.1 * np.arange(12)), 10.0)
            _, state, _ = one_round(mechanism, updates, state, 10.0, generator(5, "noise", t))
            assert state["norms"] is None
        path.append(state)
    assert equal(*path)


def test_a_constant_clipping_has_no_memory_and_the_same_noise_as_ever():
    mechanism = gaussian("autos", z=1.5, clip_norm=2.0)
    assert mechanism.init() is None
    assert mechanism.noise_std(10.0) == pytest.approx(1.5 * 2.0 / 10.0)
    assert clipped_at(PRIVACY.build("none"), None) is None


@pytest.mark.parametrize("clipping", SERVER_ALONE)
def test_a_local_client_cannot_use_what_only_a_trusted_server_can(clipping):
    with pytest.raises(ValueError, match=f"that a client can do alone .* got '{clipping}'"):
        LocalGaussian(1.0, noise_multiplier=1.0, delta=1e-5, clipping=clipping)
