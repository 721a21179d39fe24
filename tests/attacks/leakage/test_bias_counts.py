"""Oracles: the identity n_c = B (mean p_c - b_c), and the measured table of leakage specification 3."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from gauntlet.attacks.leakage.bias_counts import BiasCounts
from gauntlet.attacks.leakage.parts.labels import last_layer, round_counts
from gauntlet.attacks.leakage.parts.metrics import label_accuracy
from gauntlet.core.errors import PluginError


def accuracy(attack, observe, make, digits, batch_size, trials=30):
    x, y = digits
    found = []
    for t in range(trials):
        rows = torch.arange(batch_size) + 50 * t
        scores = attack.infer([observe(make(t), x[rows], y[rows])])[0]
        found.append(
            label_accuracy(torch.arange(10).repeat_interleave(round_counts(scores, batch_size)), y[rows])
        )
    return sum(found) / trials


def test_with_the_true_mean_probability_the_counts_are_exact(digits, mlp, observe):
    """The identity itself, on a model with any weights."""
    x, y = digits
    model = mlp(nn.ReLU)
    with torch.no_grad():
        model[3].weight.mul_(8)
        probabilities = model(x[:32]).softmax(dim=1).mean(dim=0)
    observation = observe(model, x[:32], y[:32])

    bias = last_layer(observation, observation.gradient()).bias

    torch.testing.assert_close(
        32 * (probabilities - bias), y[:32].bincount(minlength=10).float(), rtol=0, atol=1e-3
    )


@pytest.mark.parametrize(
    ("guess", "batch_size", "expected"),
    [("uniform", 8, 1.00), ("uniform", 32, 0.97), ("random_inputs", 32, 1.00)],
)
def test_untrained_models_tell_the_labels(digits, mlp, observe, guess, batch_size, expected):
    """MLP 64-64-10 ReLU, untrained: measured table of the specification, with its slack of 0.05."""
    attack = BiasCounts(guess=guess, num_dummies=500)

    assert accuracy(attack, observe, lambda t: mlp(nn.ReLU, seed=t), digits, batch_size) >= expected - 0.05


def test_no_bias_is_refused(digits, observe):
    x, y = digits
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False))

    with pytest.raises(PluginError, match="has none"):
        BiasCounts().infer([observe(model, x[:1], y[:1])])


def test_a_gradient_is_not_read_off_several_steps(digits, mlp, observe):
    x, y = digits
    observation = observe(mlp(), x[:1], y[:1])
    several = replace(observation, knowledge=replace(observation.knowledge, local_steps=5))

    with pytest.raises(PluginError, match="local_steps = 5"):
        BiasCounts().infer([several])
