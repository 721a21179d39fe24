"""Attacks on several local steps. Oracles: torch.optim.SGD, the victims' images, Inverting Gradients."""

from dataclasses import replace
from itertools import pairwise
from time import thread_time

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage.inverting_gradients import InvertingGradients
from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.attacks.leakage.search.surrogate import surrogate_gradients_of
from gauntlet.attacks.leakage.search.unrolled import LocalSGD, descents_of
from gauntlet.attacks.leakage.sme import SME
from gauntlet.attacks.leakage.unrolled import Unrolled
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout
from gauntlet.core.leakage_knowledge import LeakageKnowledge
from gauntlet.core.observation import Observation, Truth
from gauntlet.core.seeds import generator, seeded_torch

START = SME(alpha=0.0, alpha_lr=0.0)  # all local steps taken for one where the client began


def deep(seed=0, hidden=128):
    with seeded_torch(generator(seed, "weights")):
        sizes = [64, hidden, hidden, hidden]
        inner = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.GELU())]
        return nn.Sequential(nn.Flatten(), *inner, nn.Linear(hidden, 10))


def trained(model, x, y, batches, lr=0.1, momentum=0.0, weight_decay=0.0):
    """Let torch's own SGD take the steps, and record what a client would send; labels ascend."""
    layout, own = Layout.of(model), dict(model.named_parameters())
    before = layout.flatten(own).clone()
    sgd = torch.optim.SGD(model.parameters(), lr, momentum, weight_decay=weight_decay)
    for batch in batches:
        sgd.zero_grad()
        functional.cross_entropy(model(x[list(batch)]), y[list(batch)]).backward()
        sgd.step()
    update = (layout.flatten(own) - before).detach()
    with torch.no_grad():
        for name, value in layout.views(before).items():
            own[name].copy_(value)
    known = LeakageKnowledge(
        batch_size=len(x), labels=tuple(y.tolist()), local_steps=len(batches), optimizer="sgd",
        weight_decay=weight_decay, loss="cross_entropy", momentum=momentum, local_lr=lr,
        batches=tuple(batches),
    )  # fmt: skip
    return Observation(0, 0, model, layout, b"", update, tuple(x.shape[1:]), 10, (0.0, 1.0), known)


def of_classes(digits, number, skip=0):
    """Return a digit each of the first classes."""
    x, y = digits
    rows = [int((y == c).nonzero()[skip]) for c in range(number)]
    return x[rows], y[rows]


def run(attack, observation, number=0):
    return attack.reconstruct([observation], generator(number, "attack"))


@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.0, 0.0), (0.9, 0.0), (0.0, 0.1), (0.5, 0.01)])
def test_simulated_steps_are_torchs_sgd(digits, momentum, weight_decay):
    """Oracle: torch.optim.SGD, with batches of 2, 2 and 1 in two passes; one search alone and two in one."""
    x, y = of_classes(digits, 5)
    batches = ((0, 3), (2, 1), (4,), (1, 4), (0, 2), (3,))
    seen = trained(deep(hidden=12), x, y, batches, 0.2, momentum, weight_decay)
    descents = descents_of(seen, LocalSGD(0.2, momentum, weight_decay, batches))

    for inputs in (x[None], torch.stack([x, x.flip(0)])):
        found = descents(inputs, y)
        torch.testing.assert_close(found[0], -seen.update, rtol=1e-4, atol=1e-6)
        assert not torch.allclose(found[-1], found[0]) or len(inputs) == 1


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_a_surrogates_gradient_is_that_of_the_model_in_between(digits, alpha):
    """Oracle: autograd on a model that holds (1 - alpha) theta_0 + alpha theta_T; alpha has a gradient."""
    x, y = of_classes(digits, 3)
    seen = trained(deep(hidden=12), x, y, ((0, 1, 2),) * 3, 0.5)
    model = deep(hidden=12)
    with torch.no_grad():
        for name, value in seen.layout.views(seen.update).items():
            dict(model.named_parameters())[name].add_(alpha * value)
    parts = torch.autograd.grad(functional.cross_entropy(model(x), y), list(model.parameters()))
    wanted = torch.cat([part.flatten() for part in parts])
    places = torch.tensor([alpha, 0.7], requires_grad=True)

    gradients = surrogate_gradients_of(seen)(torch.stack([x, x]), y, places)

    torch.testing.assert_close(gradients[0], wanted, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        surrogate_gradients_of(seen)(x[None], y, places[:1])[0], wanted, rtol=1e-4, atol=1e-6
    )
    (slope,) = torch.autograd.grad(gradients.square().sum(), places)
    assert slope.all()


def test_one_gradient_is_worse_than_a_surrogate_and_that_than_all_steps(digits):
    """Leakage specification, 5.3, smaller: start < SME < unrolled in PSNR."""
    truth = Truth(*of_classes(digits, 2))
    seen = trained(deep(hidden=64), truth.x, truth.y, ((0, 1),) * 4, 0.3)

    start, surrogate, every = (
        score(run(replace(attack, max_iterations=80), seen), truth).psnr.mean().item()
        for attack in (START, SME(), Unrolled())
    )

    assert start < surrogate < every


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "lr", "seeds"), [(4, 0.1, (0, 1, 2)), (16, 0.1, (0,)), (16, 0.5, (1,))])
def test_the_order_of_the_specification_holds(digits, steps, lr, seeds):
    """Leakage specification, 5.3: 4 labels, full batches, 300 iterations; SME under a quarter of the time."""
    for seed in seeds:
        truth = Truth(*of_classes(digits, 4, skip=seed))
        seen = trained(deep(seed), truth.x, truth.y, (tuple(range(4)),) * steps, lr)
        decibels, seconds = [], []
        for attack in (START, SME(), Unrolled()):
            begin = thread_time()
            decibels.append(score(run(attack, seen, seed), truth).psnr.mean().item())
            seconds.append(thread_time() - begin)
        assert decibels[0] + 5 < decibels[1] < decibels[2] - 5
        assert steps < 16 or seconds[1] < seconds[2] / 4


@pytest.mark.slow
def test_batches_momentum_and_weight_decay_as_the_client_had_them_rebuild_its_images(digits):
    """Told of other batches than the client's, the same search stays far from them."""
    truth = Truth(*of_classes(digits, 3))
    batches = ((2, 0), (1,), (0, 1), (2,))
    seen = trained(deep(hidden=64), truth.x, truth.y, batches, 0.3, 0.5, 0.01)
    other = replace(seen, knowledge=replace(seen.knowledge, batches=((0, 1), (2,), (1, 2), (0,))))

    right, wrong = (
        score(run(Unrolled(max_iterations=100), one), truth).psnr.min().item() for one in (seen, other)
    )

    assert right > 35
    assert wrong < right - 10


def test_of_one_step_a_surrogate_is_the_plain_gradient(digits):
    """Leakage specification, 5.3, its trap: alpha would begin at 0.5. Oracle: Inverting Gradients."""
    x, y = of_classes(digits, 2)
    seen = trained(deep(hidden=32), x, y, ((0, 1),))
    options = {"max_iterations": 12, "tv": (1e-5, 1e-5)}

    found, plain = run(SME(**options), seen), run(InvertingGradients(**options, schedule="steps"), seen)

    assert found.details["alpha"] == 0
    torch.testing.assert_close(found.x, plain.x, rtol=1e-3, atol=1e-3)


def test_alpha_stays_between_0_and_1_and_moves_from_where_it_begins(digits):
    x, y = of_classes(digits, 2)
    seen = trained(deep(hidden=32), x, y, ((0, 1),) * 4, 0.5)

    moved = [
        run(SME(max_iterations=30, alpha=a, alpha_lr=0.1), seen).details["alpha"] for a in (0.0, 0.5, 1.0)
    ]

    assert all(0 <= alpha <= 1 for alpha in moved)
    assert moved[1] != 0.5


def test_restarts_in_one_batch_give_each_ones_own_trace(digits):
    """The first restart's start is that of a search with one: its trace is the same to 1e-4."""
    x, y = of_classes(digits, 2)
    seen = trained(deep(hidden=32), x, y, ((0, 1), (0,), (1, 0)), 0.3)
    for attack in (SME(max_iterations=8), Unrolled(max_iterations=8)):
        one, many = run(attack, seen), run(replace(attack, restarts=3), seen)
        chosen = int(many.details["chosen_restart"])
        assert many.cost <= one.cost + 1e-4
        if chosen == 0:
            assert many.trace == pytest.approx(one.trace, rel=1e-3, abs=1e-4)
        assert many.details["closures"] == 24


UNTOLD = {
    "local_lr": None,
    "batches": None,
    "momentum": None,
    "labels": None,
}


@pytest.mark.parametrize("item", UNTOLD)
def test_what_must_be_simulated_and_is_not_known_is_named(digits, item):
    x, y = of_classes(digits, 2)
    seen = trained(deep(hidden=8), x, y, ((0, 1),) * 2)
    unknown = replace(seen, knowledge=replace(seen.knowledge, **{item: None}))

    with pytest.raises(PluginError, match=rf"Unrolled needs to know .*missing here: {item} "):
        run(Unrolled(), unknown)


@pytest.mark.parametrize(
    ("attack", "told", "words"),
    [
        (Unrolled(), {"optimizer": "adam"}, "Unrolled works with optimizer = sgd only, got optimizer = adam"),
        (Unrolled(), {"optimizer": "scaffold"}, "got optimizer = scaffold"),
        (Unrolled(), {"loss": "mse"}, "works with loss = cross_entropy only, got loss = mse"),
        (SME(), {"optimizer": "adam"}, "SME works with optimizer = sgd only, got optimizer = adam"),
        (SME(), {"weight_decay": 0.1}, "SME works with weight_decay = 0.0 only, got weight_decay = 0.1"),
        (SME(), {"labels": None}, "missing here: labels .*labels_known = true tells the labels"),
    ],
)
def test_steps_that_are_not_simulated_are_refused_in_one_line(digits, attack, told, words):
    x, y = of_classes(digits, 2)
    seen = trained(deep(hidden=8), x, y, ((0, 1),) * 2)
    other = replace(seen, knowledge=replace(seen.knowledge, **told))

    with pytest.raises(PluginError, match=words) as refusal:
        run(attack, other)
    assert "\n" not in str(refusal.value)


def test_a_sum_over_clients_is_refused(digits):
    x, y = of_classes(digits, 2)
    seen = replace(trained(deep(hidden=8), x, y, ((0, 1),) * 2), kind="aggregate", contributors=3)
    for attack in (Unrolled(), SME()):
        with pytest.raises(
            PluginError, match="works on a message of kind update or gradient, got an aggregate"
        ):
            run(attack, seen)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha": 1.5}, "alpha must be between 0 and 1, got 1.5"),
        ({"alpha_lr": -0.1}, "alpha_lr must be at least 0 and finite, got -0.1"),
        ({"alpha_lr": float("nan")}, "alpha_lr must be at least 0 and finite, got nan"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        SME(**options)
