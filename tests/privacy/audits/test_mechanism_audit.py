"""Mechanisms that are right are never refuted; each that is broken on purpose is."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import central_twins
import pytest

from gauntlet.core.contracts import Release, Verdict
from gauntlet.core.seeds import generator, normal
from gauntlet.defenses.mean import Mean
from gauntlet.privacy.audits.mechanism_audit import audit_mechanism
from gauntlet.privacy.clippings.parts import clip_rows
from gauntlet.privacy.gaussian import Gaussian
from gauntlet.privacy.local_gaussian import LocalGaussian
from gauntlet.privacy.no_privacy import NoPrivacy

Z = 2.0 * 2**0.5  # over two rounds the multiplier is 2
RIGHT = Gaussian(clip_norm=0.7, noise_multiplier=Z, delta=1e-5)


@dataclass(frozen=True)
class Twin(central_twins.Twin):
    """A right mechanism for two rounds, of which each broken twin spoils one thing."""

    inner: Gaussian = RIGHT
    relation: ClassVar[str] = "add_remove"


class ForgotNoise(Twin):
    def noise(self, aggregate, expected_size, state, stream):
        return aggregate, state


class HalfTheNoise(Twin):
    def noise(self, aggregate, expected_size, state, stream):
        return replace(self.inner, noise_multiplier=Z / 2).noise(aggregate, expected_size, state, stream)


class NoiseOverTheSquareRoot(Twin):
    """Noise z C / m^1.5: divided as if every client added a share."""

    def noise(self, aggregate, expected_size, state, stream):
        std = self.inner.noise_std(expected_size) / expected_size**0.5
        return aggregate + normal(stream, len(aggregate), std), state


class TwiceTheBound(Twin):
    def privatize(self, updates, streams):
        return updates.with_vectors(clip_rows(updates.vectors, 2 * self.clip_norm))

    def clip(self, updates, state):
        return updates.with_vectors(clip_rows(updates.vectors, 2 * self.clip_norm)), state


class ForgotClipping(Twin):
    def privatize(self, updates, streams):
        return updates

    def clip(self, updates, state):
        return updates, state


class SameNoiseTwice(Twin):
    """A seed without the round: the noise of the first round comes again in every other."""

    def noise(self, aggregate, expected_size, state, stream):
        drawn = (
            normal(stream, len(aggregate), self.inner.noise_std(expected_size)) if state is None else state
        )
        return aggregate + drawn, drawn

    def event(self, sensitivity, expected_size, state):
        return self.inner.event(sensitivity, expected_size, None)


class FixedNoise(Twin):
    """A seed written into the code: the noise cancels in any comparison."""

    def noise(self, aggregate, expected_size, state, stream):
        return self.inner.noise(aggregate, expected_size, state, generator(11, "noise"))


class NoiseWithTheNewBound(Twin):
    """C falls to a quarter after a round, and the noise of the round is already that of the next C."""

    def init(self):
        return 0.7

    def privatize(self, updates, streams):
        return updates

    def clip(self, updates, state):
        return updates.with_vectors(clip_rows(updates.vectors, state)), state / 4

    def noise(self, aggregate, expected_size, state, stream):
        std = Z * state / expected_size
        return aggregate + normal(stream, len(aggregate), std), 0.7

    def event(self, sensitivity, expected_size, state):
        return Release(Z, "add_remove")


@dataclass(frozen=True)
class Weighted:
    """Weights by examples, or divides by who came, and claims the sensitivity of the fixed mean."""

    inner: Mean = field(default_factory=lambda: Mean("num_examples"))

    def init(self):
        return None

    def aggregate(self, updates, state) -> tuple[Verdict, Any]:
        return self.inner.aggregate(updates, state)

    def sensitivity(self, clip_norm, expected_size):
        return clip_norm / expected_size


@pytest.mark.parametrize("seed", range(20))
def test_a_right_mechanism_is_never_refuted(seed):
    found = audit_mechanism(RIGHT, Mean("fixed"), seed=seed)
    assert found.claimed == pytest.approx(1.9931, abs=1e-3)  # the exact Gaussian of multiplier 2
    assert 0.8 < found.epsilon_low <= found.claimed
    assert not found.refuted


@pytest.mark.parametrize("relation", ["add_remove", "zero_out", "replace_one"])
def test_the_claim_holds_under_every_relation_and_is_not_far_from_the_bound(relation):
    z = 2 * Z if relation == "replace_one" else Z
    found = audit_mechanism(replace(RIGHT, noise_multiplier=z, relation=relation))
    assert 0.8 < found.epsilon_low <= found.claimed == pytest.approx(1.9931, abs=1e-3)


@pytest.mark.parametrize(
    "twin",
    [ForgotNoise, HalfTheNoise, NoiseOverTheSquareRoot, TwiceTheBound, ForgotClipping, FixedNoise,
     SameNoiseTwice, NoiseWithTheNewBound],
)  # fmt: skip
def test_a_broken_mechanism_is_refuted(twin):
    assert not audit_mechanism(Twin()).refuted
    assert audit_mechanism(twin()).refuted


@pytest.mark.parametrize("weighting", ["num_examples", "uniform"])
def test_a_wrong_denominator_is_refuted(weighting):
    assert audit_mechanism(RIGHT, Weighted(Mean(weighting))).refuted


def test_noise_that_comes_again_is_not_seen_in_a_single_round():
    assert not audit_mechanism(SameNoiseTwice(), rounds=1).refuted


def test_local_noise_is_audited_at_the_client():
    right = LocalGaussian(clip_norm=0.7, noise_multiplier=4.0, delta=1e-5)
    found = audit_mechanism(right, rounds=1, draws=20_000)
    assert 0.6 < found.epsilon_low <= found.claimed == pytest.approx(1.9931, abs=1e-3)

    @dataclass(frozen=True)
    class Quarter(LocalGaussian):
        def privatize(self, updates, streams):
            return LocalGaussian(self.clip_norm, 1.0, delta=1e-5).privatize(updates, streams)

    assert audit_mechanism(Quarter(0.7, 4.0, delta=1e-5), rounds=1, draws=20_000).refuted


def test_a_mechanism_that_claims_nothing_is_not_refuted():
    found = audit_mechanism(replace(RIGHT, noise_multiplier=0.0))
    assert (found.claimed, found.refuted) == (None, False)
    assert found.epsilon_low > 5
    assert audit_mechanism(RIGHT, Mean("num_examples")).claimed is None


def test_a_mechanism_without_a_bound_cannot_be_audited():
    with pytest.raises(ValueError, match="got trust_model 'none' and clip_norm None"):
        audit_mechanism(NoPrivacy())


def test_equal_seeds_give_equal_audits():
    assert audit_mechanism(RIGHT, draws=2000, seed=3) == audit_mechanism(RIGHT, draws=2000, seed=3)
    assert audit_mechanism(RIGHT, draws=2000, seed=3) != audit_mechanism(RIGHT, draws=2000, seed=4)
