"""Private local steps on real-valued targets: each example clipped by hand, noised, then Adam."""

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.data.base import Dataset, Targets
from gauntlet.clients.data.federate import federate
from gauntlet.clients.data.quantity import Quantity
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.models.gru import Gru
from gauntlet.clients.models.linear import Linear
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.layout import Layout
from gauntlet.core.seeds import generator, normal
from gauntlet.privacy.dp_sgd import DpSgd

C, Z = 0.5, 0.7
MODELS = {"gru": Gru(hidden=5), "linear": Linear()}


class Waves:
    """30 windows of 4 steps with 3 features; two targets that are sums of them."""

    def load(self):
        x = np.random.default_rng(0).standard_normal((40, 4, 3)).astype(np.float32)
        y = np.stack([x.sum(axis=(1, 2)), x[:, -1, 0]], axis=1)
        pieces = (x[:30], y[:30], x[30:], y[30:])
        return Dataset("waves", *pieces, 0, value_range=(-9, 9), targets=Targets(("a", "b")))


@pytest.fixture(scope="module")
def waves():
    return federate(Waves(), Quantity(), 3, seed=0)


def built(name: str) -> nn.Module:
    torch.manual_seed(1)
    return MODELS[name].build((4, 3), 2)


@pytest.mark.parametrize("loss", ["mae", "mse"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", MODELS)
def test_steps_are_dp_sgd_written_out_with_torchs_optimizers(waves, name, optimizer, loss):
    """Oracle: autograd one example at a time, torch's losses, torch.optim.SGD and torch.optim.Adam."""
    training = LocalTraining(local_epochs=2, batch_size=4, lr=0.02, loss=loss, optimizer=optimizer)
    privacy = DpSgd(clip_norm=C, noise_multiplier=Z, delta=1e-5, batches="shuffle")
    kernel = BlockKernel(waves, built(name), FedAvg(), training, privacy, (), 5, height=4)
    net, (x, y) = built(name), waves.client(1)
    sent = Broadcast(0, Layout.of(net).flatten(dict(net.named_parameters())), torch.zeros(0))
    params, noise = list(net.parameters()), generator(5, "example noise", 0, 1)
    steps = (torch.optim.SGD if optimizer == "sgd" else torch.optim.Adam)(params, lr=0.02)
    mean_loss = nn.functional.l1_loss if loss == "mae" else nn.functional.mse_loss
    for rows in kernel.batches(1, 0, len(y)):
        total = normal(noise, sum(p.numel() for p in params), Z * C / len(rows))
        for row in rows:
            found = torch.autograd.grad(mean_loss(net(x[[row]]), y[[row]]), params)
            flat = torch.cat([g.flatten() for g in found])
            total += flat * min(1.0, C / float(flat.norm())) / len(rows)
        for parameter, part in zip(params, total.split([p.numel() for p in params]), strict=True):
            parameter.grad = part.view_as(parameter).clone()
        steps.step()

    trained = kernel.train(sent, np.array([0, 1, 2]))
    expected = Layout.of(net).flatten(dict(net.named_parameters())) - sent.params
    assert torch.allclose(trained.updates.vectors[1], expected, atol=2e-4)
