"""Partitions that give clients other inputs: noisier ones, other domains; and what they may not do."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from gauntlet.clients.data import Dataset, federate
from gauntlet.clients.data.contract import PARTITION_CHECKS, altered_inputs_are_as_many_of_the_same_kind
from gauntlet.clients.data.domain_shift import DomainShift
from gauntlet.clients.data.feature_noise import FeatureNoise
from gauntlet.clients.data.iid import Iid
from gauntlet.core.errors import GauntletError, PluginError


@dataclass(frozen=True)
class Pixels:
    """Grey pixels, uint8."""

    tokens: bool = False

    def load(self):
        draw = np.random.default_rng(0)
        x = draw.integers(0, 256, (600, 1, 8, 8)).astype(np.int64 if self.tokens else np.uint8)
        y = np.arange(600) % 3
        return Dataset("pixels", x, y, x[:5], y[:5], 3, num_tokens=256 * self.tokens)


def spread(partition, **more):
    """Return the data of six clients, and what they would be without noise."""
    return federate(Pixels(), partition, 6, 3, **more), federate(Pixels(), Iid(), 6, 3, **more)


def test_noise_grows_linearly_from_client_to_client():
    """std sigma i / (N - 1) on 100 pictures of 64 pixels: known to 3 %; the first client has none."""
    noisy, plain = spread(FeatureNoise(0.5))
    for client in range(6):
        (x, y), (before, labels) = noisy.client(client), plain.client(client)
        assert torch.equal(y, labels)
        assert float((x - before).std()) == pytest.approx(0.5 * client / 5, rel=0.03)
        assert abs(float((x - before).mean())) < 0.03
    assert torch.equal(noisy.client(0)[0], plain.client(0)[0])
    assert torch.equal(noisy.test()[0], plain.test()[0])


def test_noise_follows_from_seed_and_client_alone():
    again, other = (federate(Pixels(), FeatureNoise(0.5), 6, seed) for seed in (3, 4))
    noisy = spread(FeatureNoise(0.5))[0]
    assert torch.equal(noisy.client(4)[0], again.client(4)[0])
    assert not torch.equal(noisy.client(4)[0], other.client(4)[0])
    low, high = noisy.value_range
    assert low < 0
    assert high > 1
    assert low <= float(noisy.client(5)[0].min())


def test_what_clients_hold_out_is_theirs_and_altered_too():
    noisy, plain = spread(DomainShift(), held_out=0.3)
    x, before = noisy.held_out.client(1)[0], plain.held_out.client(1)[0]
    assert torch.allclose(x, 1 - before, atol=1e-6)


def test_domains_come_in_turn():
    """By hand: client 4 is of domain 1 of three, client 5 of domain 2."""
    shifted, plain = spread(DomainShift((1.0, -1.0, 0.5), (0.0, 1.0, 0.25)))
    for client, gain, offset in ((0, 1, 0), (4, -1, 1), (5, 0.5, 0.25)):
        assert torch.allclose(shifted.client(client)[0], gain * plain.client(client)[0] + offset, atol=1e-6)
    assert torch.equal(shifted.client(5)[1], plain.client(5)[1])


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: FeatureNoise(-1), "sigma must be at least 0 and finite, got -1"),
        (lambda: DomainShift((1.0,), ()), "gains and offsets must be as many, at least one; got 1 and 0"),
        (lambda: DomainShift((0.0,), (1.0,)), "gains must be finite and not 0"),
    ],
)
def test_options_out_of_range_are_refused(make, line):
    with pytest.raises(ValueError, match=line):
        make()


def test_tokens_are_not_altered():
    with pytest.raises(
        GauntletError, match="changes inputs that are numbers, and those of pixels are tokens"
    ):
        federate(Pixels(tokens=True), FeatureNoise(), 6, 3)


@dataclass(frozen=True)
class Alters:
    """Doubles inputs, or breaks a promise."""

    fault: str = ""
    calls: object = None

    def split(self, y, groups, num_clients, seed):
        return Iid().split(y, groups, num_clients, seed)

    def alter(self, x, client_id, num_clients, generator):
        if self.fault == "place":
            x *= 2
            return x
        if self.fault == "moody":
            self.calls.append(1)
            return x + np.float32(len(self.calls))
        found = {"type": 2.0 * x.astype(np.float64), "shape": x[1:], "finite": x * np.float32("nan")}
        return found.get(self.fault, 2 * x)


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("type", "float32"),
        ("shape", "float32"),
        ("finite", "alter must return finite inputs"),
        ("place", "must not change its arguments in place"),
        ("moody", "must follow from what it is given alone"),
    ],
)
def test_a_partition_that_alters_otherwise_is_caught(fault, line):
    for check in PARTITION_CHECKS:
        check(Alters())
    with pytest.raises(PluginError, match=line):
        altered_inputs_are_as_many_of_the_same_kind(Alters(fault, []))
    if fault in ("type", "shape", "finite"):
        with pytest.raises(PluginError, match=line):
            federate(Pixels(), Alters(fault), 6, 3)
