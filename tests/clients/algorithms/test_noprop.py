"""NoProp. Oracles: the recursion's closed forms, steps and predictions by hand, blocks one at a time."""

from functools import partial
from math import sqrt

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.algorithms.noprop import NoProp, noisy, with_blocks
from gauntlet.clients.data.synthetic import SyntheticPopulation
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.models.denoising import between, cosine
from gauntlet.clients.models.noprop import NoPropBlocks
from gauntlet.clients.models.normalized import Normalized
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import ScenarioError
from gauntlet.core.layout import Layout
from gauntlet.core.seeds import generator, seeded_torch
from gauntlet.privacy.no_privacy import NoPrivacy

DATA = SyntheticPopulation(num_features=5, num_classes=3, examples_per_client=12).populate(4, 0)
X, Y = DATA.client(2)


def net(blocks=3) -> nn.Module:
    with seeded_torch(generator(0, "test")):
        return Normalized(NoPropBlocks(blocks, 4).build((5,), 3), (0.5,) * 5, (2.0,) * 5)


def update(algorithm, model, **how):
    """Return by tensor the update of client 2 after a step of all its examples at lr .2, or as told."""
    layout = Layout.of(model)
    params = layout.flatten(dict(model.named_parameters()))
    training = LocalTraining(**{"batch_size": 0, "lr": 0.2, **how})
    kernel = BlockKernel(DATA, model, algorithm, training, NoPrivacy(), (), 7)
    trained = kernel.train(Broadcast(1, params, torch.zeros(0)), np.array([2]))
    return layout.views(trained.updates.vectors[0])


def test_the_recursion_has_the_values_of_the_closed_forms():
    """Cosine, T = 10, clamped at 1e-4; computed by an independent program."""
    signal = cosine(10)
    found = np.array([between(signal[t - 1], signal[t]) for t in (1, 2, 5)])
    expected = [
        [0.155811, 0.062366, 0.971639],
        [0.235590, 0.469378, 0.689584],
        [0.333851, 0.635021, 0.236068],
    ]
    assert found == pytest.approx(np.array(expected), abs=1e-6)
    ratio = [one / (1 - one) for one in signal]
    steps = [ratio[t] - ratio[t - 1] for t in (1, 2, 5)]
    assert steps == pytest.approx([0.024986, 0.080487, 0.472136], abs=1e-6)


def test_with_the_true_label_each_z_is_as_in_training_also_past_missing_blocks():
    """a + b sqrt(abar_s) = sqrt(abar_t), b^2 (1 - abar_s) + c = 1 - abar_t."""
    signal = cosine(7)
    for s, t in ((0, 1), (3, 4), (6, 7), (1, 5)):
        a, b, c = between(signal[s], signal[t])
        assert a + b * sqrt(signal[s]) == pytest.approx(sqrt(signal[t]), abs=1e-14)
        assert b**2 * (1 - signal[s]) + c == pytest.approx(1 - signal[t], abs=1e-14)


@pytest.mark.parametrize("loss", ["l2", "cross_entropy"])
def test_a_step_is_that_of_each_blocks_own_loss(loss):
    """By hand, on normalised inputs: z from the labels, block by block."""
    found, model = update(NoProp(loss=loss), net()), net()
    drawn = generator(7, "noprop noise", 1, 2).standard_normal((3, 12, 3), dtype=np.float32)
    u = F.one_hot(Y, 3).float()
    for t, signal in enumerate((1e-4, 0.25, 0.75), start=1):
        z = sqrt(signal) * u + sqrt(1 - signal) * torch.from_numpy(drawn[t - 1])
        first, last = model.net.blocks[str(t)].hidden, model.net.blocks[str(t)].out
        h = torch.relu(torch.cat([(X - 0.5) / 2, z], 1) @ first.weight.t() + first.bias)
        logits = h @ last.weight.t() + last.bias
        l2 = (logits.softmax(1) - u).square().sum(1).mean()
        value = l2 if loss == "l2" else -logits.log_softmax(1)[torch.arange(12), Y].mean()
        gradients = torch.autograd.grad(value, [first.weight, first.bias, last.weight, last.bias])
        names = [
            f"net.blocks.{t}.{layer}.{what}" for layer in ("hidden", "out") for what in ("weight", "bias")
        ]
        for name, gradient in zip(names, gradients, strict=True):
            torch.testing.assert_close(found[name], -0.2 * gradient)


@pytest.mark.parametrize("kept", [(2,), (1, 3)])
def test_a_block_learns_the_same_whoever_else_is_there(kept):
    """To the last bit, over a round of minibatches."""
    how = {"batch_size": 5, "local_epochs": 2}
    whole, part = update(NoProp(), net(), **how), with_blocks(net(), kept)
    some = update(NoProp(), part.model, **how)
    assert set(some) == {name for name in whole if int(name.split(".")[2]) in kept}
    for name, change in some.items():
        assert torch.equal(change, whole[name])
    assert int(part.present.sum()) == sum(change.numel() for change in some.values())


def test_a_prediction_goes_from_block_to_block():
    """T = 2 by hand: z_1 = a softmax + b z_0 + sqrt(c) noise; without block 1 the guess is 1 / C."""
    model = NoPropBlocks(2, 4, noise_seed=3).build((5,), 3)
    draws = torch.from_numpy(generator(3, "noprop prediction").standard_normal((2, 3), dtype=np.float32))
    signal, (a, b, c) = cosine(2), between(1e-4, 0.5)
    assert signal == pytest.approx([1e-4, 0.5, 1 - 1e-4])
    first, second = model.blocks["1"], model.blocks["2"]
    z0 = draws[0].expand(12, 3)
    z1 = a * first(X, z0).softmax(1) + b * z0 + sqrt(c) * draws[1]
    torch.testing.assert_close(model(X), second(X, z1))
    torch.testing.assert_close(with_blocks(model, [1]).model(X), first(X, z0))
    guess = a / 3 + b * z0 + sqrt(c) * draws[1]
    torch.testing.assert_close(with_blocks(model, [2]).model(X), second(X, guess))
    quiet = NoPropBlocks(2, 4, noise_seed=None).build((5,), 3)
    torch.testing.assert_close(with_blocks(quiet, [1]).model(X), quiet.blocks["1"](X, torch.zeros(12, 3)))


def test_a_single_layer_is_one_block_and_takes_fedavgs_step_along_cross_entropy():
    with seeded_torch(generator(0, "test")):
        model = nn.Linear(5, 3)
    found = update(NoProp(loss="cross_entropy"), model)
    for name, change in update(FedAvg(), model).items():
        torch.testing.assert_close(found[name], change)


def test_noisy_labels_have_the_shares_that_they_say():
    """Mean sqrt(s) u, variance 1 - s; 20,000 draws, five standard errors."""
    noise = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    z = noisy(torch.ones(20_000), 0.25, noise)
    assert float(z.mean()) == pytest.approx(0.5, abs=5 * sqrt(0.75 / 20_000))
    assert float(z.var()) == pytest.approx(0.75, abs=5 * 0.75 * sqrt(2 / 20_000))


def test_every_set_of_blocks_is_drawn_as_often_as_any_other():
    """T = 3, two a client: 3,000 draws of three sets, within four standard deviations of 1,000: 103."""
    algorithm = NoProp(blocks_per_client=2)
    levels = [
        algorithm.level(c, 300, partial(generator, 0, "level", t, c)) for t in range(10) for c in range(300)
    ]
    assert np.bincount(levels, minlength=3) == pytest.approx([1000] * 3, abs=103)
    present = [int(part.present.sum()) for part in algorithm.levels(net(), (5,))]
    assert present == [2 * (4 * 8 + 4 + 3 * 4 + 3)] * 3
    assert NoProp().levels is None


@pytest.mark.parametrize(
    ("algorithm", "model", "complaint"),
    [
        (NoProp(), nn.Sequential(nn.Linear(5, 3)), "needs model noprop with blocks = 3, got Sequential"),
        (NoProp(blocks=2), net(), "needs model noprop with blocks = 2, got NoPropNet of 3"),
    ],
)
def test_another_model_is_refused(algorithm, model, complaint):
    with pytest.raises(ValueError, match=complaint):
        update(algorithm, model)
    with pytest.raises(ScenarioError, match=complaint.partition(" got")[0]):
        NoProp(algorithm.blocks, 1).levels(model, (5,))


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        (partial(NoProp, blocks=9), "blocks must be from 1 to 8, got 9"),
        (partial(NoProp, blocks_per_client=4), "blocks_per_client must be from 1 to 3, or left out; got 4"),
        (partial(NoProp, loss="l1"), "loss must be l2 or cross_entropy, got 'l1'"),
        (partial(NoPropBlocks, blocks=0), "blocks must be from 1 to 8, got 0"),
        (partial(NoPropBlocks, hidden=0), "hidden must be at least 1, got 0"),
        (partial(NoPropBlocks, noise_seed=-1), "noise_seed must be at least 0, or None; got -1"),
    ],
)
def test_options_out_of_range_are_refused(made, complaint):
    with pytest.raises(ValueError, match=complaint):
        made()
