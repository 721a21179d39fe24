"""Mixup and InstaHide beside their definitions."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from gauntlet.clients.client_defenses.instahide import Instahide
from gauntlet.clients.client_defenses.mixup import Mixup
from gauntlet.core.errors import PluginError
from gauntlet.core.seeds import generator

X, Y = torch.rand(40, 1, 5, 5, generator=torch.Generator().manual_seed(0)), torch.arange(40)


def weights_of(found, x):
    """The weights with which mixtures [B, ...] are made of examples [B, ...]: x is of full rank here."""
    return np.linalg.lstsq(x.flatten(1).double().numpy().T, found.flatten(1).double().numpy().T, rcond=None)[
        0
    ].T


@pytest.mark.parametrize("k", [2, 3])
def test_a_mixture_is_of_k_examples_its_own_among_them_and_has_the_label_of_one(k):
    x, y = X[:20], Y[:20]
    found, labels = Mixup(k=k).examples(x, y, generator(0, "mixup"))
    weights = weights_of(found, x)
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-4)
    assert ((weights > 1e-4).sum(axis=1) <= k).all()
    assert (weights > -1e-4).all()
    for row, label in enumerate(labels.tolist()):
        assert weights[row, label] > 1e-6
        assert weights[row, row] > 0


def test_labels_are_drawn_with_the_weights():
    """The mean weight of the label's example is E sum w^2 = 2/3 of lambda even on [0, 1]."""
    drawn = []
    for seed in range(60):
        found, labels = Mixup().examples(X[:20], Y[:20], generator(seed, "mixup"))
        weights = weights_of(found, X[:20])
        drawn += [weights[row, label] for row, label in enumerate(labels.tolist())]
    assert np.mean(drawn) == pytest.approx(2 / 3, abs=0.03)


def test_one_example_is_mixed_with_itself():
    found, labels = Mixup(k=3).examples(X[:1], Y[:1], generator(0, "mixup"))
    assert torch.allclose(found, X[:1])
    assert labels.tolist() == [0]


def test_signs_turn_around_the_centre_and_values_stay_between_0_and_1():
    """|x - 1/2| of a mixture is that of the same mixture without signs."""
    hidden, labels = Instahide().examples(X, Y, generator(0, "instahide"))
    again, _ = Instahide(centre=0.0).examples(X, Y, generator(0, "instahide"))
    assert float(hidden.min()) >= 0
    assert float(hidden.max()) <= 1
    assert torch.allclose((hidden - 0.5).abs(), (again.abs() - 0.5).abs(), atol=1e-6)
    turned = (again < 0).float()
    assert float(turned.mean()) == pytest.approx(0.5, abs=0.05)
    assert labels.shape == Y.shape


@pytest.mark.parametrize(("k", "largest"), [(2, 0.51), (4, 0.65), (4, 0.26), (6, 1.0)])
def test_no_weight_is_above_the_largest(k, largest):
    weights = Instahide(k=k, largest=largest)._weights(500, generator(0, "weights"))
    assert weights.max() <= largest + 1e-9
    assert np.allclose(weights.sum(axis=1), 1)


@pytest.mark.parametrize("defense", [Mixup(), Instahide()], ids=str)
def test_tokens_are_not_mixed(defense):
    with pytest.raises(PluginError, match=r"mixed as floats, got torch.int64"):
        defense.examples(torch.ones(3, 5, dtype=torch.int64), Y[:3], generator(0, "tokens"))


@pytest.mark.parametrize(
    ("kind", "options"),
    [(Mixup, {"k": 1}), (Mixup, {"alpha": 0.0}), (Instahide, {"k": 1}), (Instahide, {"largest": 0.25})],
)
def test_options_that_cannot_be_are_refused(kind, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        kind(**options)


def apart(found, x):
    """Return the PSNR of the worst of some examples, each beside the one that is nearest, once each."""
    errors = (found.flatten(1)[:, None] - x.flatten(1)[None]).square().mean(dim=2).numpy()
    return -10 * np.log10(max(errors[linear_sum_assignment(errors)].max(), 1e-12))


@pytest.mark.parametrize(("k", "rounds", "least"), [(2, 8, 80), (4, 16, 35)])
def test_mixtures_of_several_rounds_say_what_is_mixed(k, rounds, least):
    """They lie in the convex hull of the examples, which these are the corners of: whatever the weights were.

    Of one round alone nothing can be told apart, and the mixtures come back.
    """
    x, y = X[:6], Y[:6]
    defense = Mixup(k=k)
    seen = [defense.examples(x, y, generator(1, "mixup", r))[0] for r in range(rounds)]
    found, misfit = defense.undo(seen, (0.0, 1.0), generator(1, "undo"))
    assert apart(seen[-1], x) < 25
    assert apart(found, x) > least
    assert misfit < 1e-3
    alone, _ = defense.undo(seen[:1], (0.0, 1.0), generator(1, "undo"))
    assert torch.equal(alone, seen[0])


def test_of_hidden_mixtures_the_distance_from_the_centre_is_left():
    """By hand: 0.2 and 0.8 are as likely, and 0.2 is taken."""
    found, _ = Instahide().undo([torch.tensor([[0.2, 0.8, 0.5]])], (0.0, 1.0), generator(0, "undo"))
    assert torch.allclose(found, torch.tensor([[0.2, 0.2, 0.5]]))
