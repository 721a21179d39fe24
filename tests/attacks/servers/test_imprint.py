"""The imprint block: thresholds by quantiles, one gradient for all rows, and a model that still learns."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage.contract.specimens import planted_model
from gauntlet.attacks.servers.imprint import Imprint
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout
from gauntlet.core.seeds import generator, seeded_torch
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import RunSpec
from gauntlet.sims.scenario import make_scenario


def net():
    with seeded_torch(generator(0, "net")):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


def test_thresholds_are_quantiles_of_the_normal_distribution():
    """Quartiles of N(0, 1): -0.67449, 0, 0.67449 (tables); the first is below everything."""
    model, secret = planted_model(net(), Imprint(bins=4, mean=0.4, std=0.1))
    found = -model.measure.bias.detach()

    assert secret == {"layer": "measure", "size": 64}
    assert found[1:].tolist() == pytest.approx([0.4 - 0.067449, 0.4, 0.4 + 0.067449], abs=1e-6)
    assert found[0] == pytest.approx(0.4 - 1.0)
    assert model.measure.weight.unique().tolist() == [1 / 64]
    assert model.spread.weight.unique().tolist() == pytest.approx([0.01])


def test_every_active_row_sees_the_same_gradient_and_the_others_none():
    """By hand: an example of mean 0.45 passes the thresholds -0.6, 0.33 and 0.4, and not 0.467."""
    model, _ = planted_model(net(), Imprint(bins=4, mean=0.4, std=0.1))
    x = torch.full((1, 1, 8, 8), 0.45)
    functional.cross_entropy(model(x), torch.tensor([3])).backward()
    bias, weight = model.measure.bias.grad, model.measure.weight.grad

    assert bias[0] != 0
    assert torch.equal(bias[:3], bias[:1].expand(3))
    assert bias[3] == 0
    assert torch.allclose(weight[:3], 0.45 * bias[:3, None].expand(3, 64))


def test_the_block_is_planted_anew_in_every_round_and_the_rest_are_the_servers_own():
    server, (model, secret) = Imprint(bins=4), Imprint(bins=4).rebuild(net())
    own = Layout.of(model).flatten(dict(model.named_parameters()))
    size = 4 * 64 + 4 + 4
    first, _, state = server.plant(own, server.init(secret), None)
    second, _, _ = server.plant(own + 1.0, state, None)

    assert torch.equal(first[:size], second[:size])
    assert torch.equal(first[size:], own[size:])
    assert torch.equal(second[size:], own[size:] + 1.0)


def test_a_model_that_does_not_tell_its_size_wants_to_be_told():
    convolution = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 10))
    with pytest.raises(ValueError, match=r"a model that begins with Conv2d.*: give input_shape"):
        Imprint().rebuild(convolution)
    model, _ = Imprint(input_shape=(1, 8, 8)).rebuild(convolution)
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bins": 1}, "bins must be from 2 to 65536, got 1"),
        ({"std": 0.0}, "std and scale must be above 0"),
        ({"scale": -1.0}, "std and scale must be above 0"),
        ({"gain": 0.0}, "gain must not be 0"),
        ({"input_shape": (1, 0)}, "input_shape must be sizes of at least 1"),
    ],
)
def test_options_that_cannot_be_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Imprint(**options)


def spec(server, **changes) -> RunSpec:
    scenario = {
        "name": "imprinted", "rounds": 30, "num_clients": 10, "data": "digits",
        "model": {"name": "mlp", "hidden": [32]},
        "training": {"local_epochs": 1, "batch_size": 16, "lr": 0.1},
        "server": server, "evaluation": {"every": 30}, **changes,
    }  # fmt: skip
    return make_scenario(scenario).run_spec()


def accuracy(server):
    simulation = prepare(spec(server))
    *_, last = simulation.steps(simulation.serial_pool())
    return last.score.accuracy


@pytest.mark.slow
def test_the_model_behind_it_learns_as_well():
    """Its shift is small, and so is what the server's own block moves by."""
    imprint = {"name": "imprint", "mean": 0.305, "std": 0.042, "scale": 2.0**-6}
    honest, imprinted = accuracy("honest"), accuracy(imprint)
    assert honest > 0.9
    assert imprinted > honest - 0.02


def test_a_shape_that_is_not_the_datas_is_refused_in_one_line():
    with pytest.raises(PluginError, match="rebuilt the model so that it does not fit digits"):
        prepare(spec({"name": "imprint", "input_shape": [1, 28, 28]}))
    with pytest.raises(
        PluginError, match=r"server 'imprint' raised ValueError: a model that begins with Conv2d"
    ):
        prepare(spec("imprint", model="lenet_sigmoid"))
    told = prepare(spec({"name": "imprint", "input_shape": [1, 8, 8]}, model="lenet_sigmoid")).plan.inserted
    assert told == {"server": "imprint", "layer": "measure", "size": 64}
