"""Every mechanism keeps the contract, and every check rejects a mechanism that is broken on purpose."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from gauntlet.core.contracts import Privacy, Release
from gauntlet.core.errors import PluginError
from gauntlet.core.registry import guard
from gauntlet.core.seeds import normal
from gauntlet.privacy import PRIVACY, contract, example_contract, noise_contract
from gauntlet.privacy.annealed import Annealed
from gauntlet.privacy.banded_mf import BandedMF
from gauntlet.privacy.contract import CHECKS
from gauntlet.privacy.discrete_gaussian import DiscreteGaussian
from gauntlet.privacy.dp_sgd import DpSgd
from gauntlet.privacy.gaussian import Gaussian
from gauntlet.privacy.input_gaussian import InputGaussian
from gauntlet.privacy.laplace import Laplace
from gauntlet.privacy.local_gaussian import LocalGaussian
from gauntlet.privacy.skellam import Skellam
from gauntlet.privacy.tree import Tree

BUDGET = {"clip_norm": 0.7, "noise_multiplier": 1.3, "delta": 1e-5}
INTEGERS = {**BUDGET, "num_parameters": 301}
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


@dataclass(frozen=True)
class Twin:
    """A correct central mechanism, of which each broken twin spoils one thing."""

    clip_norm: ClassVar[float] = 0.7
    inner: Gaussian = field(default_factory=lambda: Gaussian(**BUDGET))
    unit: ClassVar[str] = "client"
    trust_model: ClassVar[str] = "central"

    def init(self) -> Any:
        return None

    def privatize(self, updates, streams):
        return self.inner.privatize(updates, streams)

    def clip(self, updates, state):
        return self.inner.clip(updates, None)[0], state

    def noise(self, aggregate, expected_size, state, generator):
        return self.inner.noise(aggregate, expected_size, None, generator)[0], state

    def event(self, sensitivity, expected_size, state):
        return self.inner.event(sensitivity, expected_size, None)


def clip_half(vectors: torch.Tensor, clip_norm: float) -> torch.Tensor:
    norms = vectors.double().norm(dim=1, keepdim=True).clamp(min=1e-30)
    return (vectors.double() * (clip_norm / norms).clamp(max=1.0)).float()


class ClipsEveryArrayApart(Twin):
    """Flower's record-wise clipping: two arrays, each within C, together up to sqrt(2) C."""

    def clip(self, updates, state):
        halves = updates.vectors.split(151, dim=1)
        return updates.with_vectors(torch.cat([clip_half(h, self.clip_norm) for h in halves], dim=1)), state


class ClientClipsEveryArrayApart(Twin):
    def privatize(self, updates, streams):
        return ClipsEveryArrayApart().clip(updates, None)[0]


class ClipsNothing(Twin):
    """Passes a test of 'at most the original norm'."""

    def clip(self, updates, state):
        return updates, state


class NoiseFromAnotherBound(Twin):
    """Noise with the next bound, 10 % too little: Flower's adaptive order."""

    def noise(self, aggregate, expected_size, state, generator):
        return replace(self.inner, clip_norm=0.63).noise(aggregate, expected_size, None, generator)[0], state


class RealisedDenominator(Twin):
    """Divides the noise by the number of clients that came."""

    def clip(self, updates, state):
        return self.inner.clip(updates, None)[0], len(updates)

    def noise(self, aggregate, expected_size, state, generator):
        return self.inner.noise(aggregate, state or expected_size, None, generator)[0], state


class OverstatesItsMultiplier(Twin):
    """Opacus up to 1.5.4: the ledger holds another multiplier than the noise."""

    def event(self, sensitivity, expected_size, state):
        event = self.inner.event(sensitivity, expected_size, None)
        return replace(event, noise_multiplier=1.4) if isinstance(event, Release) else event


class IgnoresTheSensitivity(Twin):
    """Charges the same multiplier however far one client moves the aggregate."""

    def event(self, sensitivity, expected_size, state):
        return Release(1.3, "add_remove") if sensitivity is not None else self.inner.event(None, 1.0, None)


class TrustsAnyAggregator(Twin):
    def event(self, sensitivity, expected_size, state):
        return self.inner.event(sensitivity or self.clip_norm / expected_size, expected_size, None)


class NoisesOnlyWhereTheUpdateIsNotZero(Twin):
    def noise(self, aggregate, expected_size, state, generator):
        noised = self.inner.noise(aggregate, expected_size, None, generator)[0]
        return torch.where(aggregate == 0, aggregate, noised), state


class BiasedNoise(Twin):
    """The right standard deviation around a mean of 3 % of it."""

    def noise(self, aggregate, expected_size, state, generator):
        std = self.inner.noise_std(expected_size)
        return self.inner.noise(aggregate, expected_size, None, generator)[0] + 0.03 * std, state


class DrawsFromTheGlobalGenerator(Twin):
    def noise(self, aggregate, expected_size, state, generator):
        std = self.inner.noise_std(expected_size)
        return aggregate + torch.randn(len(aggregate)) * std, state


class ReplaysItsSeed(Twin):
    def noise(self, aggregate, expected_size, state, generator):
        stream = np.random.Generator(np.random.Philox(key=1))
        return self.inner.noise(aggregate, expected_size, None, stream)[0], state


class NoisesInSecret(Twin):
    """Adds noise although it says that there is no mechanism."""

    def event(self, sensitivity, expected_size, state):
        return Gaussian(1.0, noise_multiplier=0.0).event(sensitivity, expected_size, None)


class ShrinksEveryTime(Twin):
    """Automatic clipping (AUTO-S) is not idempotent."""

    def clip(self, updates, state):
        norms = updates.vectors.double().norm(dim=1, keepdim=True)
        return updates.with_vectors((updates.vectors * (self.clip_norm / (norms + 0.01))).float()), state


class SettlesWithoutClipping(Twin):
    settled = True

    def privatize(self, updates, streams):
        return updates


class CountsWhatItClips(Twin):
    settled = True

    def clip(self, updates, state):
        return self.inner.clip(updates, None)[0], {"clipped": len(updates)}


class DividesByTheNorm(Twin):
    def clip(self, updates, state):
        norms = updates.vectors.double().norm(dim=1, keepdim=True)
        return updates.with_vectors((updates.vectors.double() * (0.5 / norms)).float()), state


class ClipsInPlace(Twin):
    def clip(self, updates, state):
        updates.vectors.copy_(self.inner.clip(updates, None)[0].vectors)
        return updates, state


class NoisesInPlace(Twin):
    def noise(self, aggregate, expected_size, state, generator):
        aggregate += self.inner.noise(torch.zeros_like(aggregate), expected_size, None, generator)[0]
        return aggregate, state


class ClipsAtTheCohortsMedian(Twin):
    def privatize(self, updates, streams):
        bound = float(updates.vectors.double().norm(dim=1).median().clamp(max=self.clip_norm))
        return updates.with_vectors(clip_half(updates.vectors, bound))


class RemembersAnArray(Twin):
    def clip(self, updates, state):
        return self.inner.clip(updates, None)[0], np.zeros(3)


class ClaimsWithoutABound(Twin):
    clip_norm = 0.0

    def event(self, sensitivity, expected_size, state):
        return Release(1.3, "add_remove")


class SpeaksOfRecords(Twin):
    unit = "record"


class TrustsNobodyKnowsWhom(Twin):
    trust_model = "server"


class HasAnotherRelation(Twin):
    def event(self, sensitivity, expected_size, state):
        return Release(1.3, "swap")


class LocalTwin(Twin):
    trust_model = "local"
    local = LocalGaussian(**BUDGET)

    def privatize(self, updates, streams):
        return self.local.privatize(updates, streams)

    def noise(self, aggregate, expected_size, state, generator):
        return aggregate, state

    def event(self, sensitivity, expected_size, state):
        return Release(1.3, "replace_one", amplified=False)


class LocalNoiseForAQuarter(LocalTwin):
    local = LocalGaussian(**{**BUDGET, "noise_multiplier": 0.65})


class LocalNoiseWithoutClipping(LocalTwin):
    local = LocalGaussian(**{**BUDGET, "clip_norm": 7.0, "noise_multiplier": 0.13})


class TreeTwin(Twin):
    """A correct mechanism whose noise hangs together over rounds."""

    tree = Tree(**BUDGET)

    def init(self):
        return self.tree.init()

    def noise(self, aggregate, expected_size, state, generator):
        return self.tree.noise(aggregate, expected_size, state, generator)

    def event(self, sensitivity, expected_size, state):
        return self.tree.event(sensitivity, expected_size, state)

    def mixings(self, rounds):
        return self.tree.mixings(rounds)


class DrawsANodeAnewWhenItsTurnEnds(TreeTwin):
    """The key of the nodes' streams is forgotten after every round."""

    def noise(self, aggregate, expected_size, state, generator):
        noised, after = self.tree.noise(aggregate, expected_size, {**state, "key": None}, generator)
        return noised, after


class ChargesEveryRoundForItself(TreeTwin):
    def event(self, sensitivity, expected_size, state):
        event = self.tree.event(sensitivity, expected_size, state)
        return replace(event, mixing=(1.0,)) if isinstance(event, Release) else event


class DistributedTwin(Twin):
    trust_model = "distributed"
    integers = Skellam(**INTEGERS)

    def init(self):
        return self.integers.init()

    def clip(self, updates, state):
        return updates, state

    def secure_sum(self, updates, honest, state, public, streams):
        return self.integers.secure_sum(updates, honest, state, public, streams)

    def noise(self, aggregate, expected_size, state, generator):
        return aggregate, state

    def event(self, sensitivity, expected_size, state):
        return self.integers.event(sensitivity, expected_size, state)


class ExampleTwin(LocalTwin):
    """A correct mechanism for single examples."""

    unit = "example"
    steps = DpSgd(**BUDGET)
    poisson = True

    @property
    def step_noise_std(self):
        return self.steps.step_noise_std

    def privatize(self, updates, streams):
        return updates

    def clip(self, updates, state):
        return updates, state

    def event(self, sensitivity, expected_size, state):
        return self.steps.event(sensitivity, expected_size, state)

    def weigh(self, squares, sizes):
        return self.steps.weigh(squares, sizes)


class ClipsTheMean(ExampleTwin):
    """Clips the batch's mean gradient: one example among others moves it by more than C over B."""

    def weigh(self, squares, sizes):
        norm = squares.double().sum(dim=0).sqrt().mean()
        return (self.clip_norm / norm).clamp(max=1.0).expand(1, *squares.shape[1:])


class ClipsEveryTensorApart(ExampleTwin):
    """Each tensor within C, together up to sqrt(3) C."""

    def weigh(self, squares, sizes):
        return (self.clip_norm / squares.double().sqrt()).clamp(max=1.0)


class WeighsByTheBatch(ExampleTwin):
    """Shrinks everybody by the longest gradient of the batch."""

    def weigh(self, squares, sizes):
        norms = squares.double().sum(dim=0, keepdim=True).sqrt()
        return (self.clip_norm / norms.max()).clamp(max=1.0).expand_as(norms) * (1 - 1e-5)


class NoisesTheMeanInsteadOfTheSum(ExampleTwin):
    """The noise is divided by the size of a batch before it is added to the sum."""

    @property
    def step_noise_std(self):
        return self.steps.step_noise_std / 64


class ForgetsThatItIsALocalStep(ExampleTwin):
    def event(self, sensitivity, expected_size, state):
        return replace(super().event(sensitivity, expected_size, state), local_steps=False)


class AddsASharesNoiseForTheWholeSum(DistributedTwin):
    """Noise with the standard deviation that one client adds: sqrt(10) too little."""

    def secure_sum(self, updates, honest, state, public, streams):
        first = torch.arange(len(updates)) == 0
        return self.integers.secure_sum(updates, honest & first, state, public, streams)


class TrustsAnySum(DistributedTwin):
    def event(self, sensitivity, expected_size, state):
        return self.integers.event(self.clip_norm / expected_size, expected_size, state)


class EveryLocalClientDrawsTheSameNoise(LocalTwin):
    def privatize(self, updates, streams):
        clipped = self.inner.privatize(updates, streams).vectors
        return updates.with_vectors(clipped + normal(streams(0), clipped.shape[1], 0.91))


@dataclass(frozen=True)
class DataTwin(InputGaussian):
    """A correct release of noised records."""

    delta: float = 1e-7
    epsilon: float | None = 0.1


class NoisesTheRecordsTooLittle(DataTwin):
    def perturb(self, records, generator):
        return InputGaussian(delta=1e-7, epsilon=0.11).perturb(records, generator)


class NoisesTheRecordsOverAgain(DataTwin):
    """The same noise in every run."""

    def perturb(self, records, generator):
        return super().perturb(records, np.random.Generator(np.random.Philox(key=1)))


class WritesIntoTheRecords(DataTwin):
    def perturb(self, records, generator):
        records += super().perturb(records, generator) - records
        return records


class NoisesTheUpdatesAsWell(DataTwin):
    def noise(self, aggregate, expected_size, state, generator):
        return aggregate + normal(generator, len(aggregate), 0.1), state


class ReleasesNoData(Twin):
    """Claims that data were released, and noises none."""

    def event(self, sensitivity, expected_size, state):
        return Release(1.3, "add_remove", once=True)


BROKEN = [
    (contract.declares_what_it_protects_from_whom, ClaimsWithoutABound),
    (contract.declares_what_it_protects_from_whom, SpeaksOfRecords),
    (contract.declares_what_it_protects_from_whom, TrustsNobodyKnowsWhom),
    (contract.declares_what_it_protects_from_whom, HasAnotherRelation),
    (contract.the_server_lets_in_no_row_above_the_clip_norm, ClipsEveryArrayApart),
    (contract.the_server_lets_in_no_row_above_the_clip_norm, ClipsNothing),
    (contract.clipping_twice_is_clipping_once, ShrinksEveryTime),
    (contract.what_workers_may_sum_passes_clip_unchanged, SettlesWithoutClipping),
    (contract.what_workers_may_sum_passes_clip_unchanged, CountsWhatItClips),
    (contract.a_zero_update_stays_zero_and_an_empty_cohort_empty, DividesByTheNorm),
    (contract.an_honest_message_moves_by_at_most_the_clip_norm, ClientClipsEveryArrayApart),
    (contract.an_honest_message_moves_by_at_most_the_clip_norm, LocalNoiseWithoutClipping),
    (contract.a_message_depends_on_its_own_client_only, ClipsAtTheCohortsMedian),
    (contract.inputs_are_left_as_they_were, ClipsInPlace),
    (contract.inputs_are_left_as_they_were, NoisesInPlace),
    (noise_contract.noise_comes_from_the_given_stream_alone, DrawsFromTheGlobalGenerator),
    (noise_contract.noise_comes_from_the_given_stream_alone, ReplaysItsSeed),
    (noise_contract.noise_comes_from_the_given_stream_alone, NoisesInSecret),
    (noise_contract.the_noise_is_what_the_event_claims, NoiseFromAnotherBound),
    (noise_contract.the_noise_is_what_the_event_claims, RealisedDenominator),
    (noise_contract.the_noise_is_what_the_event_claims, OverstatesItsMultiplier),
    (noise_contract.the_noise_is_what_the_event_claims, IgnoresTheSensitivity),
    (noise_contract.the_noise_is_what_the_event_claims, NoisesOnlyWhereTheUpdateIsNotZero),
    (noise_contract.the_noise_is_what_the_event_claims, BiasedNoise),
    (noise_contract.the_noise_is_what_the_event_claims, LocalNoiseForAQuarter),
    (noise_contract.the_noise_is_what_the_event_claims, EveryLocalClientDrawsTheSameNoise),
    (noise_contract.the_noise_is_what_the_event_claims, AddsASharesNoiseForTheWholeSum),
    (noise_contract.noise_that_hangs_together_is_fresh_once_mixed, DrawsANodeAnewWhenItsTurnEnds),
    (noise_contract.noise_that_hangs_together_is_fresh_once_mixed, ChargesEveryRoundForItself),
    (noise_contract.data_released_once_are_noised_and_nothing_else, NoisesTheRecordsTooLittle),
    (noise_contract.data_released_once_are_noised_and_nothing_else, NoisesTheRecordsOverAgain),
    (noise_contract.data_released_once_are_noised_and_nothing_else, WritesIntoTheRecords),
    (noise_contract.data_released_once_are_noised_and_nothing_else, NoisesTheUpdatesAsWell),
    (noise_contract.data_released_once_are_noised_and_nothing_else, ReleasesNoData),
    (noise_contract.an_unknown_sensitivity_proves_nothing, TrustsAnyAggregator),
    (noise_contract.an_unknown_sensitivity_proves_nothing, TrustsAnySum),
    (noise_contract.an_audit_does_not_refute_what_it_claims, ReplaysItsSeed),
    (contract.its_memory_survives_a_checkpoint, RemembersAnArray),
    (example_contract.no_example_moves_a_step_by_more_than_the_clip_norm, ClipsTheMean),
    (example_contract.no_example_moves_a_step_by_more_than_the_clip_norm, ClipsEveryTensorApart),
    (example_contract.an_example_is_weighed_by_itself, WeighsByTheBatch),
    (example_contract.a_steps_noise_is_what_the_event_claims, NoisesTheMeanInsteadOfTheSum),
    (example_contract.a_steps_noise_is_what_the_event_claims, ForgetsThatItIsALocalStep),
]


@pytest.mark.parametrize("twin", [Twin, LocalTwin, ExampleTwin, DataTwin, TreeTwin, DistributedTwin])
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
