"""Every mechanism keeps the contract, and every check rejects a mechanism that is broken on purpose."""

from typing import Any

import central_twins
import client_twins
import forgetful_twins
import pytest
from central_twins import BUDGET
from client_twins import INTEGERS

from gauntlet.core.contracts import Privacy
from gauntlet.core.errors import PluginError
from gauntlet.core.guards import guard
from gauntlet.privacy import PRIVACY, contract
from gauntlet.privacy.annealed import Annealed
from gauntlet.privacy.banded_mf import BandedMF
from gauntlet.privacy.contract import CHECKS
from gauntlet.privacy.contract import cohort as cohort_contract
from gauntlet.privacy.contract import example as example_contract
from gauntlet.privacy.contract import noise as noise_contract
from gauntlet.privacy.discrete_gaussian import DiscreteGaussian
from gauntlet.privacy.dp_sgd import DpSgd
from gauntlet.privacy.gaussian import Gaussian
from gauntlet.privacy.laplace import Laplace
from gauntlet.privacy.local_gaussian import LocalGaussian
from gauntlet.privacy.skellam import Skellam
from gauntlet.privacy.tree import Tree

OPTIONS: dict[str, dict[str, Any]] = {
    "gaussian": BUDGET,
    "local_gaussian": BUDGET,
    "dp_sgd": BUDGET,
    "laplace": BUDGET,
    "discrete_gaussian": INTEGERS,
    "skellam": INTEGERS,
    "tree": BUDGET,
    "diff2": {
        "gradient_multiplier": 1.3,
        "difference_multiplier": 2.6,
        "delta": 1e-5,
        "c1": 0.7,
        "c2": 0.25,
        "restart": 3,
    },
    "banded_mf": {**BUDGET, "bands": 3, "rounds": 7},
    "input_gaussian": {"epsilon": 0.065, "delta": 1e-7},
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", PRIVACY.table)
def test_every_mechanism_keeps_the_contract(name, check):
    check(guard(PRIVACY.build(name, OPTIONS.get(name, {})), name))


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize(
    "mechanism",
    [
        Gaussian(clip_norm=0.7, noise_multiplier=0.0),
        Gaussian(clip_norm=30.0, noise_multiplier=0.01, delta=1e-5, relation="replace_one"),
        Gaussian(clip_norm=1e-4, noise_multiplier=200.0, delta=1e-5, relation="zero_out"),
        LocalGaussian(clip_norm=0.7, noise_multiplier=0.0),
        LocalGaussian(clip_norm=1e-3, noise_multiplier=500.0, delta=1e-5),
        DpSgd(clip_norm=0.7, noise_multiplier=0.0),
        DpSgd(0.7, noise_multiplier=1.0, delta=1e-5, clipping="autos"),
        DpSgd(0.7, noise_multiplier=1.0, delta=1e-5, clipping="autov"),
        DpSgd(30.0, noise_multiplier=1.0, delta=1e-5, clipping="psac", batches="shuffle"),
        DpSgd(1e-3, noise_multiplier=1.0, delta=1e-5, clipping="per_layer"),
        DpSgd(1.0, noise_multiplier=1.0, delta=1e-5, clipping={"name": "per_layer", "split": "size"}),
        Laplace(clip_norm=30.0, noise_multiplier=0.1, delta=1e-5, relation="replace_one"),
        Skellam(clip_norm=20.0, noise_multiplier=0.3, delta=1e-5, bits=20, num_parameters=301),
        Skellam(clip_norm=0.7, noise_multiplier=2.0, delta=1e-5, rotate=False, num_parameters=301),
        DiscreteGaussian(clip_norm=1e-3, noise_multiplier=9.0, delta=1e-5, beta=0.0, num_parameters=301),
        DiscreteGaussian(clip_norm=0.7, noise_multiplier=0.0),
        Tree(clip_norm=20.0, noise_multiplier=0.1, delta=1e-5, restart_every=3),
        BandedMF(clip_norm=0.7, bands=1, noise_multiplier=2.0, delta=1e-5, rounds=4),
        BandedMF(2.0, 4, noise_multiplier=1.0, delta=1e-5, rounds=9, factorization="sqrt_toeplitz"),
        Annealed(eta=0.3, where="local", clip_norm=0.7),
        Annealed(eta=0.3, clip_norm=0.7, calibrated=True, delta=1e-5),
    ],
    ids=repr,
)
def test_other_options_keep_the_contract_too(mechanism, check):
    check(mechanism)


BROKEN = [
    (contract.declares_what_it_protects_from_whom, central_twins.ClaimsWithoutABound),
    (contract.declares_what_it_protects_from_whom, central_twins.SpeaksOfRecords),
    (contract.declares_what_it_protects_from_whom, central_twins.TrustsNobodyKnowsWhom),
    (contract.declares_what_it_protects_from_whom, central_twins.HasAnotherRelation),
    (contract.the_server_lets_in_no_row_above_the_clip_norm, central_twins.ClipsEveryArrayApart),
    (contract.the_server_lets_in_no_row_above_the_clip_norm, central_twins.ClipsNothing),
    (contract.clipping_twice_is_clipping_once, central_twins.ShrinksEveryTime),
    (contract.what_workers_may_sum_passes_clip_unchanged, central_twins.SettlesWithoutClipping),
    (contract.what_workers_may_sum_passes_clip_unchanged, central_twins.CountsWhatItClips),
    (contract.a_server_that_sees_a_sum_alone_cannot_clip, central_twins.ClipsWhatItCannotSee),
    (contract.a_server_that_sees_a_sum_alone_cannot_clip, client_twins.MakesTwoSums),
    (contract.a_zero_update_stays_zero_and_an_empty_cohort_empty, central_twins.DividesByTheNorm),
    (contract.an_honest_message_moves_by_at_most_the_clip_norm, central_twins.ClientClipsEveryArrayApart),
    (contract.an_honest_message_moves_by_at_most_the_clip_norm, client_twins.LocalNoiseWithoutClipping),
    (contract.a_message_depends_on_its_own_client_only, central_twins.ClipsAtTheCohortsMedian),
    (contract.inputs_are_left_as_they_were, central_twins.ClipsInPlace),
    (contract.inputs_are_left_as_they_were, central_twins.NoisesInPlace),
    (noise_contract.noise_comes_from_the_given_stream_alone, central_twins.DrawsFromTheGlobalGenerator),
    (noise_contract.noise_comes_from_the_given_stream_alone, central_twins.ReplaysItsSeed),
    (noise_contract.noise_comes_from_the_given_stream_alone, central_twins.NoisesInSecret),
    (noise_contract.the_noise_is_what_the_event_claims, central_twins.NoiseFromAnotherBound),
    (noise_contract.the_noise_is_what_the_event_claims, central_twins.RealisedDenominator),
    (noise_contract.the_noise_is_what_the_event_claims, central_twins.OverstatesItsMultiplier),
    (noise_contract.the_noise_is_what_the_event_claims, central_twins.IgnoresTheSensitivity),
    (noise_contract.the_noise_is_what_the_event_claims, central_twins.NoisesOnlyWhereTheUpdateIsNotZero),
    (noise_contract.the_noise_is_what_the_event_claims, central_twins.BiasedNoise),
    (noise_contract.the_noise_is_what_the_event_claims, client_twins.LocalNoiseForAQuarter),
    (noise_contract.the_noise_is_what_the_event_claims, client_twins.EveryLocalClientDrawsTheSameNoise),
    (noise_contract.the_noise_is_what_the_event_claims, client_twins.AddsASharesNoiseForTheWholeSum),
    (
        noise_contract.noise_that_hangs_together_is_fresh_once_mixed,
        central_twins.DrawsANodeAnewWhenItsTurnEnds,
    ),
    (noise_contract.noise_that_hangs_together_is_fresh_once_mixed, central_twins.ChargesEveryRoundForItself),
    (noise_contract.data_released_once_are_noised_and_nothing_else, client_twins.NoisesTheRecordsTooLittle),
    (noise_contract.data_released_once_are_noised_and_nothing_else, client_twins.NoisesTheRecordsOverAgain),
    (noise_contract.data_released_once_are_noised_and_nothing_else, client_twins.WritesIntoTheRecords),
    (noise_contract.data_released_once_are_noised_and_nothing_else, client_twins.NoisesTheUpdatesAsWell),
    (noise_contract.data_released_once_are_noised_and_nothing_else, client_twins.ReleasesNoData),
    (noise_contract.an_unknown_sensitivity_proves_nothing, central_twins.TrustsAnyAggregator),
    (noise_contract.an_unknown_sensitivity_proves_nothing, client_twins.TrustsAnySum),
    (noise_contract.an_audit_does_not_refute_what_it_claims, central_twins.ReplaysItsSeed),
    (contract.its_memory_survives_a_checkpoint, central_twins.RemembersAnArray),
    (example_contract.no_example_moves_a_step_by_more_than_the_clip_norm, client_twins.ClipsTheMean),
    (example_contract.no_example_moves_a_step_by_more_than_the_clip_norm, client_twins.ClipsEveryTensorApart),
    (example_contract.an_example_is_weighed_by_itself, client_twins.WeighsByTheBatch),
    (example_contract.a_steps_noise_is_what_the_event_claims, client_twins.NoisesTheMeanInsteadOfTheSum),
    (example_contract.a_steps_noise_is_what_the_event_claims, client_twins.ForgetsThatItIsALocalStep),
    (cohort_contract.no_client_is_let_in_unclipped, forgetful_twins.LeavesRow),
    (cohort_contract.no_client_is_let_in_unclipped, forgetful_twins.LeavesTheLastRow),
    (cohort_contract.no_client_is_let_in_unclipped, forgetful_twins.LeavesOneOfALargeCohort),
    (cohort_contract.no_client_is_let_in_unclipped, forgetful_twins.LeavesEverybodyInTheSecondRound),
    (cohort_contract.no_client_is_let_in_unclipped, forgetful_twins.LeavesOneClient),
    (cohort_contract.no_client_is_let_in_unclipped, forgetful_twins.LeavesALayer),
    (cohort_contract.no_client_sends_unclipped, forgetful_twins.SendsOneRowUnclipped),
    (cohort_contract.no_client_sends_unclipped, forgetful_twins.SendsALargeCohortUnclipped),
    (
        cohort_contract.every_coordinate_has_its_noise_and_every_round_its_own,
        forgetful_twins.LeavesABlockBare,
    ),
    (
        cohort_contract.every_coordinate_has_its_noise_and_every_round_its_own,
        forgetful_twins.LeavesABlockBareOnClients,
    ),
    (cohort_contract.every_coordinate_has_its_noise_and_every_round_its_own, forgetful_twins.RepeatsItsNoise),
    (
        cohort_contract.every_coordinate_has_its_noise_and_every_round_its_own,
        forgetful_twins.RepeatsHalfOfItsNoise,
    ),
    (cohort_contract.no_example_of_a_large_batch_is_left_unclipped, forgetful_twins.LeavesOneExampleOfABatch),
]


@pytest.mark.parametrize(
    "twin",
    [
        central_twins.Twin,
        client_twins.LocalTwin,
        client_twins.ExampleTwin,
        client_twins.DataTwin,
        central_twins.TreeTwin,
        client_twins.DistributedTwin,
    ],
)
@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
def test_the_unbroken_twins_keep_the_contract(check, twin):
    check(twin())


@pytest.mark.parametrize(("check", "twin"), BROKEN, ids=lambda x: x.__name__)
def test_a_broken_twin_is_rejected(check, twin):
    mechanism: Privacy = twin()
    with pytest.raises(PluginError):
        check(mechanism)


def test_no_check_is_without_a_twin_that_it_rejects():
    assert {check for check, _ in BROKEN} == set(CHECKS)
