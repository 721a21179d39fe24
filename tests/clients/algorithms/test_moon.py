"""MOON's term in float64, by hand; what its gradient is; which models have features."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from gauntlet.clients.algorithms.moon import Moon
from gauntlet.clients.exchange.exchange import exchange_of
from gauntlet.clients.models.gru import Gru
from gauntlet.clients.models.lstm import Lstm
from gauntlet.clients.training.added_loss import FrozenModels, added_loss_of, head_of
from gauntlet.core.contracts import Activations, LocalTraining
from gauntlet.core.layout import Layout


def activations(*rows, grad=False):
    features = torch.tensor(rows, dtype=torch.float64, requires_grad=grad)
    return Activations(torch.zeros(len(rows), 3, dtype=torch.float64), features)


def term(rule, local, near, far):
    return rule.added_loss(local, {"received": near, "previous": far}, torch.zeros(len(local.features)))


def test_the_term_is_that_of_the_paper():
    """z = (1, 0), z_g = (1, 1), z_p = (0, 2), (-3, 0), (2, 2): cosines 1/sqrt 2 and 0, -1, 1/sqrt 2."""
    found = term(
        Moon(mu=3.0, temperature=0.5),
        activations([1, 0], [1, 0], [1, 0]),
        activations([1, 1], [1, 1], [1, 1]),
        activations([0, 2], [-3, 0], [2, 2]),
    )
    near = math.exp(math.sqrt(0.5) / 0.5)
    expected = [-3 * math.log(near / (near + math.exp(far / 0.5))) for far in (0.0, -1.0, math.sqrt(0.5))]
    assert found.tolist() == pytest.approx(expected, abs=1e-12)


def test_at_the_first_visit_it_is_ln_2_without_a_gradient():
    local = activations([0.3, -1.2, 7.0], [0.0, 0.0, 0.0], grad=True)
    same = activations([0.3, -1.2, 7.0], [0.0, 0.0, 0.0])
    found = term(Moon(), local, same, same)

    assert found.tolist() == [math.log(2)] * 2
    (gradient,) = torch.autograd.grad(found.sum(), local.features)
    assert gradient.tolist() == [[0.0] * 3] * 2


def test_its_gradient_is_that_of_differences():
    """Central differences of the written formula, float64."""
    stream = torch.Generator().manual_seed(1)
    z, g, p = (torch.randn(4, 5, generator=stream, dtype=torch.float64) for _ in range(3))
    models = [Activations(z, one) for one in (g, p)]
    assert torch.autograd.gradcheck(
        lambda z: term(Moon(0.7, 0.3), Activations(z, z), *models), z.requires_grad_()
    )


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="mu must be at least 0 and finite, got -1"):
        Moon(mu=-1)
    with pytest.raises(ValueError, match="temperature must be above 0 and finite, got 0"):
        Moon(temperature=0)


class Twice(nn.Module):
    """Calls its last layer twice."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.last(torch.relu(self.last(self.first(x))))


@pytest.mark.parametrize(
    ("model", "shape", "head"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), (4,), "3"),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), (4,), None),
        (Twice(), (4,), None),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)), (1, 4, 4), "2"),
        (Gru(hidden=3).build((4, 2), 2), (4, 2), "head"),
        (Lstm(hidden=3).build((4, 2), 2), (4, 2), "head"),
    ],
    ids=["mlp", "linear", "twice", "convolution", "gru", "lstm"],
)
def test_features_are_what_enters_the_last_layer(model, shape, head):
    found = head_of(model, shape)
    assert found == head or (head == "head" and found is not None and "." not in found)
    assert model.training


def test_frozen_models_evaluate_and_have_no_gradient():
    """Dropout does nothing in them; what they remember is what they are given."""
    model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, 2))
    layout, rule = Layout.of(model), Moon()
    added = added_loss_of(
        rule, exchange_of(rule, layout, LocalTraining()), model, SimpleNamespace(input_shape=(4,))
    )
    frozen, stream = FrozenModels(added, model), torch.Generator().manual_seed(0)
    received, previous = torch.randn(2, layout.num_parameters, generator=stream)
    frozen.hold(received, torch.zeros(0), {"previous": previous[None]})
    x = torch.randn(3, 4, generator=stream)
    found = frozen.activations(x)

    for name, params in (("received", received), ("previous", previous)):
        first = layout.views(params)
        assert torch.allclose(found[name].features, x @ first["0.weight"].T + first["0.bias"], atol=1e-6)
        assert not found[name].features.requires_grad
        assert all(p.grad is None for p in frozen._copies[name].parameters())
