"""Oracles: dimensions counted by hand, and the rank of a gradient's derivative by all that is searched."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage.dlg import DLG
from gauntlet.attacks.leakage.search.equations import independent_equations, refuse_mixtures
from gauntlet.core.errors import PluginError
from gauntlet.core.seeds import generator, seeded_torch


def layers(*widths):
    with seeded_torch(generator(0, "weights")):
        inner = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.Sigmoid())]
        return nn.Sequential(nn.Flatten(), *inner[:-1])


# By hand, r (O + K - r): of one layer O = 9, for slopes have the sum 0, and K = 65 with the bias.
@pytest.mark.parametrize(
    ("size", "held"), [(1, 9 + 65 - 1), (2, 2 * (9 + 65 - 2)), (9, 9 * 65), (20, 9 * 65)]
)
def test_equations_of_one_layer_are_counted_as_by_hand(digits, observe, size, held):
    x, y = digits
    assert independent_equations(observe(layers(64, 10), x[:size], y[:size])) == held


def test_they_are_the_rank_of_the_derivative_by_examples_and_labels(digits, observe):
    """Of two examples before one layer: 146 unknowns, and a derivative of rank 144 = 146 - 2 (2 - 1)."""
    x, y = digits
    model = layers(64, 10).double()
    named = dict(model.named_parameters())

    def gradient(values, labels):
        loss = functional.cross_entropy(
            model(values.reshape(2, 1, 8, 8)), labels - labels.mean(1, True) + 0.1
        )
        return torch.cat(
            [g.flatten() for g in torch.autograd.grad(loss, list(named.values()), create_graph=True)]
        )

    at = (x[:2].flatten(1).double(), functional.one_hot(y[:2], 10).double())
    jacobian = torch.cat([j.flatten(1) for j in torch.autograd.functional.jacobian(gradient, at)], dim=1)

    rank = int(torch.linalg.matrix_rank(jacobian, rtol=1e-10))
    assert rank == 144 == independent_equations(observe(layers(64, 10), x[:2], y[:2]))


def test_convolutions_and_hidden_layers_hold_enough(digits, observe):
    """A convolution sees many positions and counts whole, 4 * 10; the last layer holds 9 + 145 - 1."""
    x, y = digits
    with seeded_torch(generator(0, "weights")):
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(144, 10))

    assert independent_equations(observe(model, x[:1], y[:1])) == 40 + 9 + 145 - 1
    refuse_mixtures(observe(layers(64, 64, 10), x[:4], y[:4]))


def test_labels_of_several_examples_are_not_solved_for_before_one_layer(digits, observe):
    """Any mixture of them fits. Told, or read, or of one example, they are no obstacle."""
    x, y = digits
    attack, seen = DLG(optimizer="levenberg_marquardt"), observe(layers(64, 10), x[:2], y[:2])

    with pytest.raises(PluginError, match="holds 2 equations fewer than 2 examples and their labels"):
        attack.check(seen)
    attack.check(replace(seen, knowledge=replace(seen.knowledge, labels=(0, 1))))
    replace(attack, labels="ilrg").check(seen)
    attack.check(observe(layers(64, 10), x[:1], y[:1]))


def test_a_mixture_that_fits_is_not_called_found(digits, observe):
    """The search along the gradient is not refused, but says what it cannot know."""
    x, y = digits
    seen = observe(layers(64, 10), x[:2], y[:2])
    told = replace(seen, knowledge=replace(seen.knowledge, labels=tuple(y[:2].tolist())))
    attack = DLG(line_search=True, init="uniform", tolerance=1e-4, max_iterations=20)

    mixed, found = (attack.reconstruct([one], generator(0, "attack")) for one in (seen, told))

    assert (mixed.stopped, mixed.details["missing_equations"]) == ("not_certified", 2)
    assert found.stopped == "converged"
