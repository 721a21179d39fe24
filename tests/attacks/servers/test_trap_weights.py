"""Trap weights: half of a row is the other half turned around, and few examples pass it."""

import pytest
import torch
from torch import nn

from gauntlet.attacks.leakage.contract.specimens import planted_model
from gauntlet.attacks.servers.trap_weights import TrapWeights
from gauntlet.core.layout import Layout
from gauntlet.core.seeds import generator, seeded_torch


def net(width=64, hidden=200):
    with seeded_torch(generator(0, "net")):
        return nn.Sequential(nn.Flatten(), nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def test_the_positive_half_is_the_negative_one_turned_and_scaled():
    """Sorted, each row's positive weights are 0.5 times the sizes of its negative ones."""
    model, _ = planted_model(net(), TrapWeights(scale=0.5, std=2.0))
    for row in model[1].weight.detach():
        below, above = -row[row < 0], row[row > 0]
        assert len(below) == len(above) == 32
        torch.testing.assert_close(above.sort().values, 0.5 * below.sort().values)
    assert float(model[1].weight.detach().min()) == pytest.approx(
        -2.0 * 4, rel=0.25
    )  # the largest of 6,400 draws
    assert not model[1].bias.any()


def share_of_rows_with_one(model, batches):
    """The share of rows that exactly one example of a batch activates."""
    active = torch.stack([(model[:2](x) > 0).sum(dim=0) for x in batches])
    return float((active == 1).float().mean())


def test_more_rows_hold_one_example_alone_than_of_random_weights(digits):
    """The test of the specification; 20 batches of 32 digits."""
    order = torch.randperm(len(digits[0]), generator=torch.Generator().manual_seed(0))
    batches = digits[0][order[:640]].split(32)
    trapped, _ = planted_model(net(), TrapWeights())
    assert share_of_rows_with_one(trapped, batches) > 2 * share_of_rows_with_one(net(), batches)


class Shifted(nn.Module):
    """A model that subtracts 0.4 of every value and divides by 0.3 first."""

    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x):
        return self.net((x - 0.4) / 0.3)


def test_a_normalisation_before_the_layer_is_taken_back_by_the_biases(digits):
    """What a row comes to is what it comes to without one, over the standard deviation."""
    plain, _ = planted_model(net(), TrapWeights())
    shifted, secret = planted_model(Shifted(), TrapWeights())
    x = digits[0][:50]
    assert secret["offset"].unique().tolist() == pytest.approx([-0.4 / 0.3])
    torch.testing.assert_close(shifted.net[:2]((x - 0.4) / 0.3), plain[:2](x) / 0.3, rtol=1e-4, atol=1e-4)


def test_every_round_has_a_trap_of_its_own_and_the_rest_is_the_servers_own():
    server, model = TrapWeights(), net(hidden=16)
    _, secret = server.rebuild(model)
    own, state = Layout.of(model).flatten(dict(model.named_parameters())), server.init(secret)
    one, two = (server.plant(own, state, generator(0, "plant", r))[0] for r in range(2))

    assert not torch.equal(one[:1024], two[:1024])
    assert torch.equal(one[1040:], own[1040:])
    assert torch.equal(two[1040:], own[1040:])


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 10)), {}, "begins with Conv2d"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False)), {}, "linear first layer with a bias"),
        (net(), {"input_shape": (1, 28, 28)}, r"takes no example of shape \[1, 28, 28\]: give input_shape"),
    ],
)
def test_other_models_are_refused(model, options, words):
    with pytest.raises(ValueError, match=words):
        TrapWeights(**options).rebuild(model)


def test_options_that_cannot_be_are_refused():
    for options, words in (({"scale": 1.0}, "scale must be"), ({"std": 0.0}, "std must be above 0")):
        with pytest.raises(ValueError, match=words):
            TrapWeights(**options)
