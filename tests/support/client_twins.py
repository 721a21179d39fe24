"""Mechanisms that clients run, or that noise records: correct twins, and of each some that are broken."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from central_twins import BUDGET, Twin

from gauntlet.core.contracts import Release
from gauntlet.core.seeds import normal
from gauntlet.privacy.dp_sgd import DpSgd
from gauntlet.privacy.input_gaussian import InputGaussian
from gauntlet.privacy.local_gaussian import LocalGaussian
from gauntlet.privacy.skellam import Skellam

INTEGERS = {**BUDGET, "num_parameters": 301}


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


class EveryLocalClientDrawsTheSameNoise(LocalTwin):
    def privatize(self, updates, streams):
        clipped = self.inner.privatize(updates, streams).vectors
        return updates.with_vectors(clipped + normal(streams(0), clipped.shape[1], 0.91))


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


class AddsASharesNoiseForTheWholeSum(DistributedTwin):
    """Noise with the standard deviation that one client adds: sqrt(10) too little."""

    def secure_sum(self, updates, honest, state, public, streams):
        first = torch.arange(len(updates)) == 0
        return self.integers.secure_sum(updates, honest & first, state, public, streams)


class MakesTwoSums(DistributedTwin):
    sum_only = True


class TrustsAnySum(DistributedTwin):
    def event(self, sensitivity, expected_size, state):
        return self.integers.event(self.clip_norm / expected_size, expected_size, state)


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
