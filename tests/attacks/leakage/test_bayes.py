"""Oracles: the victim's own image; a likelihood's maximum, by hand."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.attacks.leakage.bayes import Bayes
from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.attacks.leakage.search.likelihoods import counted, misfit
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.observation import Truth
from gauntlet.core.seeds import generator

LAYOUT = Layout((Slot("a.weight", (2,), 0), Slot("b.c.weight", (2,), 2)))
TARGET, EVERY = torch.tensor([3.0, 4.0, 0.0, 5.0]), torch.ones(4, dtype=torch.bool)
SMALL = Bayes(max_iterations=200)


def psnr(attack, observation, x, y):
    found = attack.reconstruct([observation], generator(0, "attack"))
    return score(found, Truth(x, y)).psnr.item()


def told(observation, y):
    return replace(observation, knowledge=replace(observation.knowledge, labels=tuple(y.tolist())))


@pytest.mark.parametrize(
    ("likelihood", "expected"),
    [
        ("gaussian", log((1 + 0 + 4 + 1) / (9 + 16 + 25))),
        ("laplace", 2 * log((1 + 0 + 2 + 1) / (3 + 4 + 5))),
        ("direction", log(1 - (6 + 16 + 0 + 20) / np.sqrt((4 + 16 + 4 + 16) * 50))),
        (
            "orthogonal",
            ((log(20 / 25) / 2) ** 2 + 22**2 / (20 * 25) + log(20 / 25) ** 2 / 4 + 20**2 / 500) / 2,
        ),
    ],
)
def test_a_misfit_is_what_a_hand_calculation_says(likelihood, expected):
    """g = (2, 4, 2, 4) and G = (3, 4, 0, 5), in two tensors of two."""
    found = misfit(likelihood, TARGET, EVERY, LAYOUT)(torch.tensor([[2.0, 4.0, 2.0, 4.0]]))
    assert found.item() == pytest.approx(expected, abs=1e-5)


def test_what_is_0_and_what_is_skipped_does_not_count():
    assert counted(TARGET, LAYOUT, True, ())[0].tolist() == [True, True, False, True]
    assert counted(TARGET, LAYOUT, False, ("c",))[0].tolist() == [True, True, False, False]
    assert counted(TARGET, LAYOUT, False, ("c", "weigh"))[1] == ["weigh"]
    for likelihood in ("gaussian", "laplace", "direction"):
        counts = torch.tensor([True, True, False, False])
        distance = misfit(likelihood, TARGET, counts, LAYOUT)
        one, other = torch.tensor([[1.0, 2.0, 9.0, 9.0]]), torch.tensor([[1.0, 2.0, -3.0, 0.0]])
        assert distance(one).item() == pytest.approx(distance(other).item(), abs=1e-5)


def test_a_digit_is_rebuilt_to_rounding_where_nothing_was_blurred(digits, observe, mlp):
    """Without noise the prior has no say."""
    x, y = digits[0][:1], digits[1][:1]
    assert psnr(SMALL, observe(mlp(nn.Tanh), x, y), x, y) > 60


def test_noise_on_half_of_the_entries_is_seen_through_by_the_sum_of_magnitudes(digits, observe, mlp):
    """By the sum of squares it is not: one large residual counts more than many small ones."""
    x, y = digits[0][:1], digits[1][:1]
    seen = told(observe(mlp(nn.Tanh, hidden=128), x, y), y)
    drawn = generator(0, "half")
    noise = drawn.normal(0, 0.003, len(seen.update)) * (drawn.random(len(seen.update)) < 0.5)
    noised = replace(seen, update=seen.update + torch.from_numpy(noise.astype(np.float32)))
    by = {kind: psnr(replace(SMALL, likelihood=kind), noised, x, y) for kind in ("gaussian", "laplace")}
    assert by["laplace"] > by["gaussian"] + 20


def test_the_prior_helps_where_the_noise_is_large(digits, observe):
    """A flat picture: where nothing is expected of it, noise is fitted."""
    flat = torch.full((1, 1, 8, 8), 0.4)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
    y = torch.tensor([3])
    seen = told(observe(model, flat, y, noise_std=0.05), y)
    assert psnr(replace(SMALL, tv=20.0), seen, flat, y) > psnr(replace(SMALL, tv=0.0), seen, flat, y) + 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"likelihood": "cauchy"}, "likelihood must be one of gaussian, laplace"),
        ({"tv": -1.0}, "tv must be at least 0"),
        ({"max_iterations": 0}, "max_iterations must be at least 1"),
        ({"lr": 0.0}, "lr must be above 0"),
    ],
)
def test_options_that_cannot_be_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Bayes(**options)


@pytest.mark.parametrize(
    ("skip", "words"),
    [
        (("precode",), "no tensor has 'precode' in its path; tensors: 1.weight"),
        (("1", "3"), "nothing is left"),
    ],
)
def test_what_cannot_be_skipped_is_refused(digits, observe, mlp, skip, words):
    seen = observe(mlp(), digits[0][:1], digits[1][:1])
    with pytest.raises(PluginError, match=words):
        replace(SMALL, skip=skip).check(seen)


def test_labels_of_several_examples_must_be_told(digits, observe, mlp):
    with pytest.raises(PluginError, match="Bayes needs to know the labels of 2 examples"):
        SMALL.check(observe(mlp(), digits[0][:2], digits[1][:2]))
