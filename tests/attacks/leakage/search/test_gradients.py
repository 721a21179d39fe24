"""Oracles: gradients taken from the model's own parameters, apart from the engine; central differences."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage.search.distances import squared
from gauntlet.attacks.leakage.search.gradients import gradients_of, refuse_unsearchable
from gauntlet.core.errors import PluginError
from gauntlet.core.seeds import generator, seeded_torch


def by_hand(model, x, y):
    found = torch.autograd.grad(functional.cross_entropy(model(x), y), list(model.parameters()))
    return torch.cat([g.reshape(-1) for g in found])


def small(kind):
    with seeded_torch(generator(0, "weights")):
        if kind == "convolutions":
            return nn.Sequential(
                nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10)
            )
        if kind in ("batch statistics", "own statistics"):
            layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Sigmoid(), nn.Flatten(), nn.Linear(144, 10)
            return nn.Sequential(*layers).train(kind == "own statistics")
        return Recurrent()


class Recurrent(nn.Module):
    """A model that vmap does not take."""

    def __init__(self):
        super().__init__()
        self.gru, self.out = nn.GRU(8, 6, batch_first=True), nn.Linear(6, 10)

    def forward(self, x):
        return self.out(self.gru(x[:, 0])[0][:, -1])


@pytest.mark.parametrize("kind", ["convolutions", "batch statistics", "own statistics", "recurrent"])
@pytest.mark.parametrize("soft", [False, True], ids=["classes", "probabilities"])
def test_several_searches_at_once_have_each_its_own_gradient(digits, observe, kind, soft):
    """Batch norms of a training model normalise by the batch, as the client's did; else by what they keep."""
    x, y = digits
    model = small(kind)
    observation = observe(model, x[:2], y[:2])
    points = x[:6].reshape(3, 2, 1, 8, 8)
    labels = y[:2] if not soft else functional.one_hot(y[:6].reshape(3, 2), 10).float() * 0.8 + 0.02

    found = gradients_of(observation)(points, labels).detach()

    for r in range(3):
        expected = by_hand(model, points[r], labels[r] if soft else labels)
        torch.testing.assert_close(found[r], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", ["convolutions", "recurrent"])
def test_each_search_moves_by_its_own_examples_alone(digits, observe, kind):
    """The derivative of the sum over searches, against that of each alone."""
    x, y = digits
    observation = observe(small(kind), x[:2], y[:2])
    gradients, distance = gradients_of(observation), squared(observation.gradient())
    points = x[2:8].reshape(3, 2, 1, 8, 8)

    def moved(points):
        points = points.clone().requires_grad_()
        return torch.autograd.grad(distance(gradients(points, y[:2])).sum(), points)[0]

    together = moved(points)
    for r in range(3):
        torch.testing.assert_close(together[r], moved(points[r : r + 1])[0], rtol=1e-3, atol=1e-6)


def test_the_second_derivative_agrees_with_finite_differences(digits, mlp, observe):
    """Leakage specification, section 12: below 1e-3 relative; central differences, in float64."""
    x, y = digits
    observation = observe(mlp().double(), x[:1].double(), y[:1])
    observation = replace(observation, update=observation.update.double())
    gradients, distance = gradients_of(observation), squared(observation.gradient())

    def cost(point):
        return distance(gradients(point, y[1:2]))

    point = torch.stack([x[1:2], x[2:3]]).double().requires_grad_()
    (exact,) = torch.autograd.grad(cost(point).sum(), point)
    direction = torch.from_numpy(generator(0, "direction").standard_normal(point.shape))
    step = 1e-5
    ahead, behind = (cost(point + s * direction).detach() for s in (step, -step))

    along = (exact * direction).flatten(1).sum(dim=1)
    torch.testing.assert_close((ahead - behind) / (2 * step), along, rtol=1e-3, atol=0)


def test_the_observed_model_is_left_as_it_was(digits, mlp, observe):
    x, y = digits
    model = mlp()
    observation = observe(model, x[:1], y[:1])
    model.train()
    for parameter in model.parameters():
        parameter.requires_grad_(False)

    gradients_of(observation)(x[:2][:, None], y[:1])

    assert model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_a_model_without_second_derivatives_is_refused(digits, observe):
    class Rounded(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.out = nn.Embedding(10, 4), nn.Linear(64 * 4, 10)

        def forward(self, x):
            return self.out(self.table((x * 9).long().flatten(1)).flatten(1))

    x, y = digits
    with pytest.raises(PluginError, match="differentiated twice"):
        refuse_unsearchable(observe(Rounded(), x[:1], y[:1]))
