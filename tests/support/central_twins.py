"""Mechanisms that a server runs: correct twins, and of each some in which one thing is broken on purpose."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch

from gauntlet.core.contracts import Release
from gauntlet.privacy.gaussian import Gaussian
from gauntlet.privacy.tree import Tree

BUDGET = {"clip_norm": 0.7, "noise_multiplier": 1.3, "delta": 1e-5}


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


class ClipsWhatItCannotSee(Twin):
    """Central clipping of single messages, behind a sum that nobody can look into."""

    sum_only = True


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
