"""Oracle: the gradients that autograd takes of the model's own parameters, one search after the other."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage.search import gradients as module
from gauntlet.attacks.leakage.search.gradients import gradients_of
from gauntlet.attacks.leakage.search.layers import NotedModel, gradients_by_layer
from gauntlet.core.seeds import generator, seeded_torch


def by_hand(model, x, y):
    found = torch.autograd.grad(functional.cross_entropy(model(x), y), list(model.parameters()))
    return torch.cat([g.reshape(-1) for g in found])


def strided():
    first = nn.Conv2d(1, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), nn.Sigmoid()
    other = nn.Conv2d(4, 6, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2)
    return nn.Sequential(*first, *other, nn.Flatten(), nn.Linear(12, 10))


class Shared(nn.Module):
    """One layer, used twice."""

    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x):
        return self.out(self.inner(self.inner(x.flatten(1)).tanh()).tanh())


def grouped():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.Linear(64, 10))


def circular():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular"), nn.Flatten(), nn.Linear(256, 10)
    )


def in_place():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 10))


def made(make):
    with seeded_torch(generator(0, "weights")):
        return make()


def taken(observation):
    return module._by_layer(observation) is not None


@pytest.mark.parametrize("soft", [False, True], ids=["classes", "probabilities"])
def test_products_by_layer_are_the_gradients_of_each_search(digits, soft):
    x, y = digits
    model = made(strided)
    found = gradients_by_layer(NotedModel(made(strided)), [n for n, _ in model.named_parameters()])
    points = x[:6].reshape(3, 2, 1, 8, 8)
    labels = y[:2] if not soft else functional.one_hot(y[:6].reshape(3, 2), 10).float() * 0.8 + 0.02

    rows = found(points, labels)

    for r in range(3):
        expected = by_hand(model, points[r], labels[r] if soft else labels)
        torch.testing.assert_close(rows[r], expected, rtol=1e-4, atol=1e-7)


def test_each_search_is_moved_by_its_own_gradient_alone(digits, observe):
    """The second derivative, against that of double backward on each search alone."""
    x, y = digits
    observation = observe(made(strided), x[:2], y[:2])
    points = x[2:8].reshape(3, 2, 1, 8, 8).clone().requires_grad_()
    assert taken(observation)

    def moved(points):
        cost = (gradients_of(observation)(points, y[:2]) - observation.gradient()).square().sum()
        return torch.autograd.grad(cost, points)[0]

    together = moved(points)
    for r in range(3):
        torch.testing.assert_close(together[r], moved(points[r : r + 1])[0], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("make", [Shared, grouped, circular, in_place])
def test_where_products_are_not_the_gradient_another_way_is_taken(digits, observe, make):
    x, y = digits
    model = made(make)
    observation = observe(model, x[:2], y[:2])
    points = x[:4].reshape(2, 2, 1, 8, 8)

    assert not taken(observation)
    rows = gradients_of(observation)(points, y[:2])

    for r in range(2):
        torch.testing.assert_close(rows[r].detach(), by_hand(model, points[r], y[:2]), rtol=1e-4, atol=1e-7)


def test_a_model_that_holds_gradients_off_is_taken_too(digits, observe):
    x, y = digits
    observation = observe(made(strided), x[:2], y[:2])
    observation.model.requires_grad_(False)

    assert taken(observation)
    assert not any(p.requires_grad for p in observation.model.parameters())
