"""Oracle: the cosine of whole gradients."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage.inverting_gradients import InvertingGradients
from gauntlet.attacks.leakage.search import ghosts
from gauntlet.attacks.leakage.search.distances import cosine
from gauntlet.attacks.leakage.search.ghosts import ghost_cosine
from gauntlet.attacks.leakage.search.gradients import gradients_of
from gauntlet.core.seeds import generator


def without_bias():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32, bias=False), nn.GELU(), nn.Linear(32, 10))


@pytest.mark.parametrize("make", [without_bias, lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10))])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("size", [1, 3])
def test_costs_and_their_slopes_are_those_of_whole_gradients(digits, observe, make, soft, size):
    x, y = digits
    observation = observe(make(), x[:size], y[:size])
    points = slice(size, 3 * size)
    target, point = -observation.update, x[points].reshape(2, size, 1, 8, 8).clone().requires_grad_()
    labels = functional.one_hot(y[points], 10).float().reshape(2, size, 10) if soft else y[:size]

    cost = ghost_cosine(observation, target)(point, labels)
    expected = cosine(target)(gradients_of(observation)(point, labels))

    torch.testing.assert_close(cost, expected, rtol=0, atol=1e-5)
    (slope,) = torch.autograd.grad(cost.sum(), point)
    (wanted,) = torch.autograd.grad(expected.sum(), point)
    torch.testing.assert_close(slope, wanted, rtol=1e-3, atol=1e-5)


def test_a_search_has_the_trace_of_one_with_whole_gradients(digits, mlp, observe, monkeypatch):
    """Equal starts; to 1e-4 over 30 steps of restarts side by side."""
    x, y = digits
    observation = observe(mlp(nn.GELU), x[:1], y[:1])
    attack = InvertingGradients(max_iterations=30, restarts=3, signed=False)
    ghost = attack.reconstruct([observation], generator(0, "attack"))
    monkeypatch.setattr(ghosts, "_agrees", lambda *_: False)

    whole = attack.reconstruct([observation], generator(0, "attack"))

    assert ghost.trace == pytest.approx(whole.trace, abs=1e-4)
    assert ghost.trace != whole.trace  # they are not the same computation


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.last = nn.Linear(64, 64), nn.Linear(64, 10)

    def forward(self, x):
        return self.last(self.inner(self.inner(x.flatten(1)).tanh()))


class Mixing(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(64, 10)

    def forward(self, x):
        x = x.flatten(1)
        return self.last(x - x.mean(dim=0))


class Behind(nn.Module):
    """Its layer is never called: its weight is used past it."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(64, 10)

    def forward(self, x):
        return functional.linear(x.flatten(1), self.last.weight, self.last.bias)


def convolution():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 10))


def rows():
    return nn.Sequential(nn.Flatten(1, 2), nn.Linear(8, 8), nn.Flatten(), nn.Linear(64, 10))


@pytest.mark.parametrize("make", [Twice, Mixing, Behind, convolution, rows])
def test_other_models_are_left_to_whole_gradients(digits, observe, make):
    x, y = digits
    observation = observe(make(), x[:2], y[:2])

    assert ghost_cosine(observation, -observation.update) is None


def test_the_model_is_left_as_it_was(digits, mlp, observe):
    x, y = digits
    observation = observe(mlp(), x[:1], y[:1])
    observation.model.train()

    ghost_cosine(replace(observation, update=observation.update * 2), -observation.update)

    assert observation.model.training
    assert not any(m._forward_hooks for m in observation.model.modules())
