"""Local training on real-valued targets: one client at a time beside torch, and stacked beside that."""

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.data.base import Dataset, Targets
from gauntlet.clients.data.digits import Digits
from gauntlet.clients.data.federate import federate
from gauntlet.clients.data.iid import Iid
from gauntlet.clients.data.quantity import Quantity
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.models.gru import Gru
from gauntlet.clients.tasks.fitted import task_of
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import ScenarioError
from gauntlet.core.layout import Layout
from gauntlet.privacy.no_privacy import NoPrivacy

CLIENTS = np.arange(5)


@pytest.fixture(scope="module")
def digits():
    return federate(Digits(), Iid(), 10, seed=0)


class Waves:
    """40 windows of 4 steps with 3 features; two targets that are sums of them."""

    def load(self):
        stream = np.random.default_rng(0)
        x = stream.standard_normal((50, 4, 3)).astype(np.float32)
        y = np.stack([x.sum(axis=(1, 2)), x[:, -1, 0]], axis=1)
        return Dataset(
            "waves", x[:40], y[:40], x[40:], y[40:], 0, value_range=(-9, 9), targets=Targets(("a", "b"))
        )


@pytest.fixture(scope="module")
def waves():
    return federate(Waves(), Quantity(), 5, seed=0)


def model() -> nn.Module:
    torch.manual_seed(1)
    return Gru(hidden=5).build((4, 3), 2)


def kernel(data, training: LocalTraining, height: int = 1) -> BlockKernel:
    return BlockKernel(data, model(), FedAvg(), training, NoPrivacy(), (), 5, height=height)


def start() -> Broadcast:
    return Broadcast(0, Layout.of(model()).flatten(dict(model().named_parameters())), torch.zeros(0))


@pytest.mark.parametrize("loss", ["mae", "mse"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_local_training_is_torchs_own_on_the_same_batches(waves, loss, optimizer):
    """Oracle: torch.optim.SGD and torch.optim.Adam, torch's l1_loss and mse_loss."""
    training = LocalTraining(
        local_epochs=3, batch_size=4, lr=0.02, weight_decay=0.1, loss=loss, optimizer=optimizer
    )
    k, net = kernel(waves, training), model()
    sent, (x, y) = start(), waves.client(3)
    made = torch.optim.SGD if optimizer == "sgd" else torch.optim.Adam
    steps = made(net.parameters(), lr=0.02, weight_decay=0.1)
    for rows in k.batches(3, 0, len(y)):
        steps.zero_grad()
        (nn.functional.l1_loss if loss == "mae" else nn.functional.mse_loss)(net(x[rows]), y[rows]).backward()
        steps.step()

    trained = k.train(sent, np.array([3]))
    expected = Layout.of(net).flatten(dict(net.named_parameters())) - sent.params
    assert torch.allclose(trained.updates.vectors[0], expected, atol=2e-5)


@pytest.mark.parametrize("loss", ["mae", "mse"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_stacked_clients_of_unequal_sizes_learn_what_each_learns_alone(waves, loss, optimizer):
    training = LocalTraining(local_epochs=2, batch_size=4, lr=0.02, loss=loss, optimizer=optimizer)
    alone = kernel(waves, training).train(start(), CLIENTS)
    together = kernel(waves, training, height=8).train(start(), CLIENTS)

    assert len({waves.num_examples(int(i)) for i in CLIENTS}) > 1
    assert torch.allclose(together.updates.vectors, alone.updates.vectors, atol=2e-5)
    assert torch.allclose(together.losses, alone.losses, atol=1e-5)


def linear() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def test_a_classification_with_adam_is_stacked_as_well(digits):
    training = LocalTraining(local_epochs=2, batch_size=8, lr=0.01, optimizer="adam", weight_decay=0.01)
    sent = Broadcast(0, Layout.of(linear()).flatten(dict(linear().named_parameters())), torch.zeros(0))
    alone, together = (
        BlockKernel(digits, linear(), FedAvg(), training, NoPrivacy(), (), 5, height=h).train(sent, CLIENTS)
        for h in (1, 8)
    )

    assert torch.allclose(together.updates.vectors, alone.updates.vectors, atol=2e-4)


def test_the_loss_goes_with_the_data(waves, digits):
    assert (task_of(waves).loss_name(), task_of(digits).loss_name()) == ("mse", "cross_entropy")
    assert task_of(waves).loss_name("mae") == "mae"
    with pytest.raises(ScenarioError, match="'cross_entropy' does not go with real-valued targets; allowed"):
        task_of(waves).loss_name("cross_entropy")
    with pytest.raises(ScenarioError, match="'mae' does not go with labels; allowed here: auto, cross_entr"):
        kernel(digits, LocalTraining(loss="mae"))
    with pytest.raises(
        ScenarioError, match="'huber' does not go with real-valued targets; allowed here: auto, m"
    ):
        kernel(waves, LocalTraining(loss="huber"))
