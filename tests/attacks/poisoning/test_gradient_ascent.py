"""Oracle: training with the negated loss, written out with autograd; the kernel, stacked and not."""

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.attacks.poisoning.constrain_and_scale import ConstrainAndScale
from gauntlet.attacks.poisoning.gradient_ascent import GradientAscent
from gauntlet.clients.algorithms.fedprox import FedProx
from gauntlet.clients.data.digits import Digits
from gauntlet.clients.data.federate import federate
from gauntlet.clients.data.iid import Iid
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.layout import Layout
from gauntlet.core.roles import Role
from gauntlet.core.seeds import generator, seeded_torch
from gauntlet.privacy.no_privacy import NoPrivacy

HOW = LocalTraining(local_steps=5, batch_size=16, lr=0.1, momentum=0.5, weight_decay=0.02)


@pytest.fixture(scope="module")
def digits():
    return federate(Digits(), Iid(), 20, seed=3)


def mlp() -> nn.Module:
    with seeded_torch(generator(0, "model")):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


def start() -> Broadcast:
    layout = Layout.of(mlp())
    return Broadcast(4, layout.flatten(dict(mlp().named_parameters())), torch.zeros(0))


def kernel(digits, roles, stacked, how=HOW, rule=None) -> BlockKernel:
    rule = rule or FedProx(0.3)
    return BlockKernel(
        digits, mlp(), rule, how, NoPrivacy(), (), 5, height=32 if stacked else 1, steers=roles
    )


@pytest.mark.parametrize("stacked", [False, True])
def test_every_local_step_climbs_the_loss_and_decay_still_decays(digits, stacked):
    """Oracle: torch.optim.SGD on minus the cross-entropy plus the proximal term of FedProx."""
    role = Role("gradient_ascent", GradientAscent(), (6, 9))
    k = kernel(digits, (role,), stacked)
    trained = k.train(start(), np.array([5, 6, 9]))

    model, (x, y) = mlp(), digits.client(9)
    first = [p.detach().clone() for p in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), HOW.lr, HOW.momentum, weight_decay=HOW.weight_decay)
    for rows in k.batches(9, 4, len(y)):
        optimizer.zero_grad()
        pull = sum((p - q).square().sum() for p, q in zip(model.parameters(), first, strict=True))
        (-nn.functional.cross_entropy(model(x[rows]), y[rows]) + 0.15 * pull).backward()
        optimizer.step()
    expected = k.layout.flatten(dict(model.named_parameters())).detach() - start().params
    torch.testing.assert_close(trained.updates.vectors[2], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("stacked", [False, True])
def test_nobody_else_is_steered_and_only_while_the_attack_runs(digits, stacked):
    honest = kernel(digits, (), stacked).train(start(), np.arange(4)).updates.vectors
    roles = (
        Role("gradient_ascent", GradientAscent(), (1,)),
        Role("constrain_and_scale", ConstrainAndScale(alpha=0.1), (2,)),
        Role("gradient_ascent", GradientAscent(), (3,), start_round=5),
    )
    steered = kernel(digits, roles, stacked).train(start(), np.arange(4)).updates.vectors
    assert [torch.equal(a, b) for a, b in zip(honest, steered, strict=True)] == [True, False, False, True]
    assert float(steered[2].norm()) < 0.5 * float(honest[2].norm())  # held near the received model


def test_stacked_and_one_at_a_time_agree(digits):
    roles = (
        Role("a", GradientAscent(), (0, 3)),
        Role("b", ConstrainAndScale(alpha=0.3), (1, 4)),
    )
    how = LocalTraining(local_epochs=2, batch_size=16, lr=0.1)
    one, all_ = (kernel(digits, roles, s, how).train(start(), np.arange(6)).updates.vectors for s in (0, 1))
    torch.testing.assert_close(one, all_, rtol=1e-4, atol=1e-6)


def test_one_step_is_a_sign_flip_and_more_are_not(digits):
    """Spec 3.1: it must differ from -x when local_steps > 1."""
    role = Role("gradient_ascent", GradientAscent(), (1,))
    for steps, same in ((1, True), (5, False)):
        how = LocalTraining(local_steps=steps, batch_size=16, lr=0.5)
        honest, climbed = (
            kernel(digits, roles, False, how, FedProx(0.0)).train(start(), np.array([1])).updates.vectors
            for roles in ((), (role,))
        )
        assert torch.allclose(climbed, -honest, rtol=1e-3, atol=1e-6) is same
