"""Oracles: torch's own batch statistics; the terms by hand; the claim that better statistics rebuild more."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage.gradinversion import GradInversion, distance_from_consensus
from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.attacks.leakage.search.gradients import gradients_of
from gauntlet.attacks.leakage.search.statistics import expected_statistics, statistics_misfit
from gauntlet.core.errors import PluginError
from gauntlet.core.observation import Truth
from gauntlet.core.seeds import generator, seeded_torch


def normed(seed=0, momentum=0.1):
    """Two convolutions with batch norms, and one linear layer, as it is in training."""
    with seeded_torch(generator(seed, "weights")):
        first = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8, momentum=momentum), nn.ReLU()
        other = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8, momentum=momentum), nn.ReLU()
        return nn.Sequential(*first, *other, nn.Flatten(), nn.Linear(512, 10))


@pytest.fixture
def sent(digits, observe):
    """Return a message of the first digits, with the buffers that the client has after its step."""

    def step(model, size=3, labels=True):
        x, y = (part[:size] for part in digits)
        local = copy.deepcopy(model)
        local(x)  # in training: this moves its buffers
        observation = observe(copy.deepcopy(model), x, y)
        observation.model.load_state_dict(model.state_dict())
        buffers = observation.layout.flatten_buffers(dict(local.named_buffers()))
        told = tuple(y.tolist()) if labels else None
        knowledge = replace(observation.knowledge, labels=told)
        return replace(observation, releases={"buffers": buffers}, knowledge=knowledge), Truth(x, y)

    return step


def run(attack, observation, number=0):
    return attack.reconstruct([observation], generator(number, "attack"))


@pytest.mark.parametrize("momentum", [0.1, 0.7])
def test_the_buffers_that_a_client_sends_tell_its_batchs_statistics(sent, momentum):
    """Oracle: torch's mean and unbiased variance over examples and pixels of the first convolution."""
    model = normed(momentum=momentum)
    observation, truth = sent(model)
    inside = model[0](truth.x).transpose(0, 1).flatten(1)  # [C, n]

    mean, var = expected_statistics(observation, "sent")["1"]

    torch.testing.assert_close(mean, inside.mean(dim=1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(var, inside.var(dim=1), rtol=1e-4, atol=1e-4)
    public = expected_statistics(observation, "running")["1"]
    assert torch.equal(public[0], torch.zeros(8))
    assert torch.equal(public[1], torch.ones(8))


def test_statistics_are_compared_by_norms_that_are_not_squared(observe, digits):
    """By hand: of the values 1 and 3, mean 2 and unbiased variance 2; expected 5 and 6: 3 + 4 = 7."""
    _, y = digits
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(2, 10))
    observation = observe(model, torch.tensor([1.0, 3.0]).view(1, 1, 1, 2), y[:1])
    expected = {"0": (torch.tensor([5.0]), torch.tensor([6.0]))}

    misfit = statistics_misfit(observation, expected)

    points = torch.tensor([[1.0, 3.0], [4.0, 6.0]]).view(2, 1, 1, 1, 2)
    torch.testing.assert_close(misfit(points), torch.tensor([7.0, 4.0]))


@pytest.mark.slow
def test_what_a_client_sends_of_its_batch_rebuilds_more_than_what_is_public_or_nothing(sent):
    """Specification, 4.4: exact statistics > none; the public ones of an untrained model say nothing."""
    attack = GradInversion(max_iterations=100, restarts=2)

    def decibels(**options):
        return [
            score(run(replace(attack, **options), sent(normed(s))[0], s), sent(normed(s))[1])
            .psnr.mean()
            .item()
            for s in range(3)
        ]

    exact, none = decibels(), decibels(bn=0.0)

    assert sum(exact) / 3 > sum(none) / 3 + 0.5


def test_labels_are_read_where_they_are_not_told(sent):
    observation, truth = sent(normed(), labels=False)

    found = run(GradInversion(max_iterations=2), observation)

    assert sorted(found.y.tolist()) == sorted(truth.y.tolist()) == [0, 1, 2]
    single, one = sent(normed(), size=1, labels=False)
    assert run(GradInversion(max_iterations=2), single).y.tolist() == one.y.tolist()


def test_seeds_are_held_to_their_mean():
    """By hand: 0 and 2 are both 1 away from 1; 3 and 5, of four values each, likewise; the mean stays."""
    seeds = torch.tensor([[0.0, 3.0], [2.0, 5.0]]).view(2, 2, 1, 1, 1).requires_grad_()

    apart = distance_from_consensus(seeds)

    torch.testing.assert_close(apart, torch.ones(2))
    (slope,) = torch.autograd.grad(apart.sum(), seeds)
    assert (slope[0] < 0).all()
    assert (slope[1] > 0).all()


def test_a_model_or_a_message_without_statistics_is_refused(sent, mlp, observe, digits):
    x, y = digits
    with pytest.raises(PluginError, match="the model has none that keeps them; use inverting_gradients"):
        GradInversion().check(observe(mlp(), x[:1], y[:1]))
    observation, _ = sent(normed())
    silent = replace(observation, releases={})
    GradInversion().check(silent)
    with pytest.raises(PluginError, match="needs buffers that the client sent; use 'running'"):
        GradInversion(statistics="sent").check(silent)
    with pytest.raises(PluginError, match="batch norms with a momentum above 0"):
        GradInversion(statistics="sent").check(sent(normed(momentum=None))[0])


def test_options_that_are_none_are_refused():
    with pytest.raises(ValueError, match="statistics must be one of auto, sent, running, got 'exact'"):
        GradInversion(statistics="exact")
    with pytest.raises(ValueError, match="bn must be at least 0 and finite, got -1"):
        GradInversion(bn=-1)
    with pytest.raises(ValueError, match="noise must be at least 0 and finite, got -1"):
        GradInversion(noise=-1)


def test_a_training_models_gradient_is_that_of_its_own_batch(sent):
    """At the client's own examples the distance of gradients is that of rounding."""
    observation, truth = sent(normed())
    found = gradients_of(observation)(truth.x[None], truth.y)

    assert functional.cosine_similarity(found[0], observation.gradient(), dim=0) > 1 - 1e-4
