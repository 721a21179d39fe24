"""Soteria on small networks, beside a Jacobian that is written here."""

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.client_defenses.soteria import Soteria
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.models import MODELS
from gauntlet.clients.training.defending import Defending, TrainedClients
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout

SIZES = [1, 3]


def net(activation=nn.Tanh):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 12), activation(), nn.Linear(12, 4))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(9, 2), nn.Linear(18, 4)

    def forward(self, x):
        return self.head(self.table(x.flatten(1).long()).flatten(1))


def inputs(row):
    return torch.rand(SIZES[row], 1, 3, 3, generator=torch.Generator().manual_seed(row))


def defended(model, soteria, update):
    layout = Layout.of(model)
    params = layout.flatten(dict(model.named_parameters()))
    defending = Defending(
        soteria,
        model,
        0,
        lambda client, _: (inputs(client), torch.zeros(SIZES[client], dtype=torch.int64)),
        lambda *who: [np.arange(who[-1])],
    )
    visit = TrainedClients(Broadcast(0, params, torch.zeros(0)), [0, 1], defending)
    return layout, soteria.change(update, visit)


def scores_by_hand(model, x, offset):
    """||d r_i / d x|| / (|r_i| + offset) summed over examples, one backward pass an example and feature."""
    representation = model[:3]
    total = torch.zeros(12)
    for example in x:
        one = example[None].clone().requires_grad_()
        r = representation(one)[0]
        for i in range(12):
            (slope,) = torch.autograd.grad(r[i], one, retain_graph=True)
            total[i] += slope.norm() / (r[i].abs() + offset)
    return total


@pytest.mark.parametrize("offset", [0.0, 0.1])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.Sigmoid, nn.GELU])
def test_the_columns_of_least_score_are_zero_and_nothing_else_is(activation, offset):
    """floor(0.4 * 12) = 4 of 12 columns of the last layer, chosen by the Jacobian above."""
    model = net(activation)
    update = torch.randn(2, Layout.of(model).num_parameters, generator=torch.Generator().manual_seed(1))
    layout, found = defended(model, Soteria(rate=0.4, offset=offset), update)

    for row in range(2):
        scores = scores_by_hand(model, inputs(row), offset)
        gone = scores.argsort()[:4]
        before, after = layout.views(update[row]), layout.views(found[row])
        expected = before["3.weight"].clone()
        expected[:, gone] = 0
        assert torch.equal(after["3.weight"], expected)
        for name in ("1.weight", "1.bias", "3.bias"):
            assert torch.equal(after[name], before[name])


def test_a_dead_feature_tells_nothing_and_goes_first():
    """ReLU: 0 with a derivative of 0 scores 0 / 0 := 0 without an offset."""
    model = net(nn.ReLU)
    with torch.no_grad():
        model[1].bias[[3, 7]] = -100.0
    update = torch.ones(2, Layout.of(model).num_parameters)
    layout, found = defended(model, Soteria(rate=0.17, offset=0.0), update)  # floor(2.04) = 2
    columns = layout.views(found)["3.weight"]
    for row in range(2):
        dead = (model[:3](inputs(row)) == 0).all(dim=0)
        assert bool(dead[[3, 7]].all())
        zero = (columns[row] == 0).all(dim=0)
        assert bool((zero <= dead).all())


def test_another_layer_can_be_defended():
    model = net()
    update = torch.ones(2, Layout.of(model).num_parameters)
    layout, found = defended(model, Soteria(rate=0.5, layer="1"), update)
    assert int((layout.views(found)["1.weight"] == 0).all(dim=1).sum()) == 2 * 4  # of 9 inputs, x itself
    assert bool((layout.views(found)["3.weight"] == 1).all())


@pytest.mark.parametrize(
    ("model", "soteria", "words"),
    [
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten()), Soteria(), "'0' is Conv2d; linear layers: none"),
        (net(), Soteria(layer="2"), "'2' is no layer; linear layers: 1, 3"),
        (nn.Linear(3, 4), Soteria(), r"layer '' is given \[2, 1, 3, 3\]"),
        (Tokens(), Soteria(), "and there are none: inputs are rounded"),
        (net().requires_grad_(False), Soteria(), "layer '3' is frozen"),
        (nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), Soteria(), "by the inputs: mat1 and mat2"),
    ],
    ids=["no linear layer", "another path", "no vector", "tokens", "frozen", "does not fit"],
)
def test_a_model_without_such_a_layer_is_refused(model, soteria, words):
    with pytest.raises(PluginError, match=words):
        soteria.check(model, (1, 3, 3))


@pytest.mark.parametrize("options", [{"rate": 1.0}, {"rate": -0.5}, {"offset": -1.0}])
def test_options_that_cannot_be_are_refused(options):
    with pytest.raises(ValueError, match="must be at least 0"):
        Soteria(**options)


def test_batch_statistics_and_recurrent_layers_are_no_obstacle():
    """In evaluation mode no example sees another."""
    batch = nn.Sequential(nn.Flatten(), nn.Linear(9, 6), nn.BatchNorm1d(6), nn.Linear(6, 4))
    Soteria().check(batch.train(), (1, 3, 3))
    assert batch.training
    for name in ("lstm", "bigru"):
        Soteria().check(MODELS.build(name).build((5, 3), 4), (5, 3))
