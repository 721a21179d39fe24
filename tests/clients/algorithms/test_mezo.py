"""Oracles: central differences of a quadratic, which are exact, and torch's own gradient."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.algorithms.mezo import MeZO
from gauntlet.clients.codecs.one_byte import OneByte
from gauntlet.clients.codecs.parts.log_bytes import from_log_bytes, to_log_bytes
from gauntlet.clients.data.synthetic import SyntheticPopulation
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.core.contracts import CodecStreams, LocalTraining
from gauntlet.core.directions import Directions
from gauntlet.core.layout import Layout
from gauntlet.privacy.no_privacy import NoPrivacy

SEED, ROUND = 7, 3
DATA = SyntheticPopulation(num_features=5, num_classes=3, examples_per_client=12).populate(4, 0)
CURVATURE = torch.tensor([1.0, 4.0, 0.25])


@dataclass
class Bowl:
    """A client whose loss is 1/2 sum_i a_i theta_i^2, and that counts how often it is asked."""

    received: torch.Tensor
    num_examples: int = 12
    asked: list = field(default_factory=list)

    def directions(self, count, pool=None):
        return Directions(SEED, ROUND, 2, count, 3, pool)

    def losses(self, params, rows=None):
        self.asked += [rows] * len(params)
        return (CURVATURE * params**2).sum(dim=1) / 2

    def stream(self, purpose):
        return np.random.default_rng(0)


def test_a_step_goes_along_each_direction_as_far_as_the_loss_falls_there():
    """p = z . (a theta), exactly, for a quadratic; so the message is -(lr / S) sum_j p_j z_j."""
    theta = torch.tensor([1.0, -0.5, 2.0])
    message, loss = MeZO(scalars_per_round=4, eps=0.5, lr=0.2).work(Bowl(theta))
    z = torch.from_numpy(np.stack(list(Bowl(theta).directions(4).each())))
    expected = -0.2 / 4 * (z @ (CURVATURE * theta)) @ z
    torch.testing.assert_close(message, expected, rtol=1e-5, atol=1e-6)
    around = [CURVATURE @ ((theta + s * 0.5 * row) ** 2) / 2 for row in z for s in (1, -1)]
    torch.testing.assert_close(loss, torch.stack(around).mean(), rtol=1e-5, atol=0)


def test_a_round_asks_for_two_losses_a_scalar():
    bowl = Bowl(torch.ones(3))
    MeZO(scalars_per_round=6).work(bowl)
    assert bowl.asked == [None] * 12


def test_all_losses_of_a_round_are_of_the_same_examples():
    bowl = Bowl(torch.ones(3))
    MeZO(scalars_per_round=2, batch_size=5).work(bowl)
    assert len({rows.tobytes() for rows in bowl.asked}) == 1
    assert len(set(bowl.asked[0].tolist())) == 5
    whole = Bowl(torch.ones(3))
    MeZO(batch_size=12).work(whole)
    assert whole.asked[0] is None


def test_a_clip_bounds_every_slope():
    """|message| is at most lr / S times C times the sum of the directions' lengths."""
    theta = 1e3 * torch.ones(3)
    message, _ = MeZO(scalars_per_round=3, eps=0.1, lr=1.0, clip=0.5).work(Bowl(theta))
    z = torch.from_numpy(np.stack(list(Bowl(theta).directions(3).each())))
    expected = -0.5 / 3 * (z @ (CURVATURE * theta)).sign() @ z
    torch.testing.assert_close(message, expected)


def trained(algorithm, model):
    params = Layout.of(model).flatten(dict(model.named_parameters())) * 1.5
    kernel = BlockKernel(DATA, model, algorithm, LocalTraining(), NoPrivacy(), (), SEED)
    sent = Broadcast(ROUND, params, torch.zeros(0))
    return kernel.train(sent, np.array([1, 2])).updates, params


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 3))


def test_slopes_are_those_of_the_model_s_own_gradient():
    """z . g by torch's autograd, dropout off; central differences of float32 losses are off by 1e-3."""
    updates, params = trained(MeZO(scalars_per_round=5, lr=1.0), net())
    model = net().eval()
    for p in model.parameters():
        p.data *= 1.5
    x, y = DATA.client(2)
    nn.functional.cross_entropy(model(x), y).backward()
    g = torch.cat([p.grad.flatten() for p in model.parameters()])
    public = CodecStreams(SEED, ROUND).public_seed
    z = torch.from_numpy(np.stack(list(Directions(public, ROUND, 2, 5, len(params)).each())))
    torch.testing.assert_close(updates.vectors[1], -(z @ g) @ z / 5, rtol=0, atol=5e-3)


@pytest.mark.parametrize("pool", [None, 20])
def test_one_byte_sends_the_slopes_and_loses_only_what_a_byte_loses(pool):
    """The directions of algorithm and codec are the same ones: of each slope the nearest byte arrives."""
    updates, params = trained(MeZO(scalars_per_round=5, lr=0.1, seed_pool=pool), net())
    layout, streams = Layout.of(net()), CodecStreams(SEED, ROUND)
    codec = OneByte(scalars_per_round=5, seed_pool=pool, unit=0.1 / 5)
    rows, _ = codec.encode(updates, layout, None, streams)
    for client, row, vector in zip((1, 2), rows, updates.vectors.numpy(), strict=True):
        told = Directions(streams.public_seed, ROUND, client, 5, len(params), pool)
        z = np.stack(list(told.each()), axis=1).astype(np.float64)
        slopes = np.linalg.lstsq(z, vector.astype(np.float64), rcond=None)[0] / (0.1 / 5)
        rounded = from_log_bytes(to_log_bytes(slopes)) * (0.1 / 5)
        assert (np.abs(slopes) > 1e-3).all()
        assert np.array_equal(codec.decode(row, layout, streams.context(client)), told.combined(rounded))


def test_the_server_shrinks_and_adds():
    params, state = MeZO(lr=0.1, weight_decay=0.5).step(
        torch.tensor([2.0, -4.0]), torch.tensor([1.0, 1.0]), None
    )
    torch.testing.assert_close(params, torch.tensor([2.9, -2.8]))
    assert state is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scalars_per_round": 0}, "scalars_per_round must be from 1 to 4096, got 0"),
        ({"seed_pool": 4}, "seed_pool must be from scalars_per_round, 10"),
        ({"eps": 0.0}, "eps must be at least 1e-6 and finite, got 0"),
        ({"lr": float("inf")}, "lr must be above 0 and finite"),
        ({"eps": float("nan")}, "eps must be at least 1e-6 and finite"),
        ({"weight_decay": -1.0}, "weight_decay must be at least 0"),
        ({"batch_size": -1}, "batch_size must be at least 0"),
        ({"clip": 0.0}, "clip must be above 0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MeZO(**options)
