"""Local training, against closed forms and against torch's own SGD."""

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.attacks.poisoning.label_flip import LabelFlip
from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.algorithms.gradient_descent import GradientDescent
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


@pytest.fixture(scope="module")
def digits():
    return federate(Digits(), Iid(), 20, seed=3)


def mlp(dropout: float = 0.0) -> nn.Module:
    with seeded_torch(generator(0, "model")):
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 16), nn.Dropout(dropout), nn.ReLU(), nn.Linear(16, 10)
        )


def start(model: nn.Module) -> Broadcast:
    layout = Layout.of(model)
    params = layout.flatten(dict(model.named_parameters()))
    return Broadcast(2, params, layout.flatten_buffers(dict(model.named_buffers())))


def kernel(digits, model: nn.Module, training: LocalTraining, poisons=(), rule=None) -> BlockKernel:
    return BlockKernel(digits, model, rule or FedAvg(), training, NoPrivacy(), poisons, seed=5)


def test_a_client_alone_has_its_pictures_channels_last_and_trains_as_torch_does(digits):
    """Oracle: torch's SGD on pictures that lie as they came. The model sees the strides of its pictures."""
    strides = []
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 10))
    model[0].register_forward_pre_hook(lambda _, given: strides.append(given[0].stride()))
    training = LocalTraining(local_steps=3, batch_size=16, lr=0.1)
    worker = kernel(digits, deepcopy(model), training)
    strides.clear()
    broadcast = start(model)
    found = worker.train(broadcast, np.array([1])).updates.vectors[0]

    assert strides == [(64, 1, 8, 1)] * 3
    x, y = digits.client(1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    for rows in worker.batches(1, broadcast.round, len(y)):
        sgd.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        sgd.step()
    expected = Layout.of(model).flatten(dict(model.named_parameters())) - broadcast.params
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


class Delegated:
    """The same data as whoever is no ``PartitionedData`` hands them out: all that a client has."""

    def __init__(self, data):
        self._data = data

    def __getattr__(self, name):
        return getattr(self._data, name)


@pytest.mark.parametrize(
    ("training", "needed"),
    [
        (LocalTraining(local_steps=1, batch_size=16, lr=0.1), 16),
        (LocalTraining(local_steps=2, batch_size=30, lr=0.1), 60),
        (LocalTraining(local_steps=5, batch_size=30, lr=0.1), None),
        (LocalTraining(local_epochs=2, batch_size=0, lr=0.1), None),
    ],
)
def test_a_client_alone_takes_only_the_examples_of_its_steps_and_nothing_changes(digits, training, needed):
    """71 examples a client. The same bits as with all of them at hand, also where it attacks."""
    taken = []

    class Noted(np.ndarray):
        def __getitem__(self, rows):
            taken.append(len(rows))
            return np.asarray(super().__getitem__(rows))

    noted = replace(digits, x=digits.x.view(Noted))
    flip = (Role("label_flip", LabelFlip(1, 7), (2,)),)
    here, there = (kernel(data, mlp(0.5), training, flip) for data in (noted, Delegated(digits)))
    few, all_of_them = (worker.train(start(mlp(0.5)), np.array([1, 2])) for worker in (here, there))

    counts = [digits.num_examples(i) for i in (1, 2)]
    assert taken == [needed or counts[0], counts[1]]
    assert torch.equal(few.updates.vectors, all_of_them.updates.vectors)
    assert few.updates.num_examples.tolist() == all_of_them.updates.num_examples.tolist() == counts
    assert torch.equal(few.losses, all_of_them.losses)


@pytest.mark.parametrize(
    "training",
    [
        LocalTraining(local_epochs=2, batch_size=16, lr=0.1, momentum=0.5, weight_decay=0.01),
        LocalTraining(local_steps=3, batch_size=0, lr=0.3),
    ],
)
def test_local_training_is_torchs_own_sgd_on_the_same_batches(digits, training):
    """Oracle: torch.optim.SGD, one client at a time."""
    model = mlp()
    sent = start(model)
    k = kernel(digits, mlp(), training)
    trained = k.train(sent, np.array([4]))

    x, y = digits.client(4)
    optimizer = torch.optim.SGD(
        model.parameters(), training.lr, training.momentum, weight_decay=training.weight_decay
    )
    for rows in k.batches(4, 2, len(y)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()

    expected = Layout.of(model).flatten(dict(model.named_parameters())) - sent.params
    assert torch.allclose(trained.updates.vectors[0], expected, atol=1e-6)
    assert trained.updates.num_examples.tolist() == [len(y)]


def test_an_update_does_not_depend_on_the_block_it_was_trained_in(digits):
    training = LocalTraining(local_epochs=1, batch_size=8, momentum=0.9)
    sent = start(mlp(0.5))
    together = kernel(digits, mlp(0.5), training).train(sent, np.array([1, 5, 9]))
    alone = kernel(digits, mlp(0.5), training).train(sent, np.array([5]))

    assert torch.equal(together.updates.vectors[1], alone.updates.vectors[0])
    assert torch.equal(together.losses[1], alone.losses[0])


def test_training_leaves_the_broadcast_as_it_was(digits):
    sent = start(mlp())
    before = sent.params.clone()
    kernel(digits, mlp(), LocalTraining()).train(sent, np.array([0, 1]))

    assert torch.equal(sent.params, before)


def test_dropout_draws_from_the_clients_own_stream(digits):
    sent = start(mlp(0.5))
    first, second = (
        kernel(digits, mlp(0.5), LocalTraining(), rule=GradientDescent()).train(
            Broadcast(t, sent.params, sent.buffers), np.array([0])
        )
        for t in (0, 1)
    )

    assert not torch.equal(first.updates.vectors, second.updates.vectors)


def test_buffers_start_from_the_broadcast_and_come_back_trained(digits):
    """By hand: momentum 0.1 moves a running mean of 2 on constant inputs of 5 to 0.9 * 2 + 0.1 * 5 = 2.3."""
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64, affine=False), nn.Linear(64, 10))
    layout = Layout.of(model)
    sent = Broadcast(
        0, torch.zeros(layout.num_parameters), torch.cat([torch.full((64,), 2.0), torch.ones(64)])
    )

    class Constant:
        input_shape = (1, 8, 8)
        num_classes = 10

        def client(self, client_id):
            return torch.full((4, 1, 8, 8), 5.0), torch.zeros(4, dtype=torch.int64)

    trained = kernel(Constant(), model, LocalTraining(local_steps=1, batch_size=0)).train(sent, np.array([0]))

    assert torch.allclose(trained.updates.buffers[0, :64], torch.tensor(2.3))
    assert torch.allclose(trained.updates.buffers[0, 64:], torch.tensor(0.9))


def test_only_the_attackers_examples_are_poisoned_and_only_while_they_attack(digits):
    role = Role("label_flip", LabelFlip(source=1, target=7), (3,), start_round=1, stop_round=4, every=2)
    k = kernel(digits, mlp(), LocalTraining(), (role,))

    def ones(client: int, round_: int) -> int:
        return int((k.examples(client, round_)[1] == 1).sum())

    honest = int((digits.client(3)[1] == 1).sum())
    assert honest > 0
    assert [ones(3, t) for t in range(6)] == [honest, 0, honest, 0, honest, honest]
    assert ones(4, 1) == int((digits.client(4)[1] == 1).sum())


def test_the_truth_is_what_the_steps_really_used(digits):
    k = kernel(digits, mlp(), LocalTraining(local_steps=1, batch_size=4))
    x, _ = digits.client(2)
    rows = np.sort(k.batches(2, 0, len(x))[0])

    truth = k.truth(2, 0)

    assert torch.equal(truth.x, x[rows])
