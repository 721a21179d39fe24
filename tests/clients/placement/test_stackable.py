"""Layers of somebody's own: stacked where torch batches them, and else trained client by client."""

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.placement.stackable import choose
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import ScenarioError
from gauntlet.core.layout import Layout
from gauntlet.privacy.no_privacy import NoPrivacy


class Six:
    """Clients of eight examples of six features."""

    num_classes = 4
    input_shape = (6,)

    def client(self, client_id):
        stream = np.random.default_rng(client_id)
        x = stream.standard_normal((8, 6)).astype(np.float32)
        return torch.from_numpy(x), torch.from_numpy(stream.integers(0, 4, 8))


class _Doubled(torch.autograd.Function):
    """Written before ``setup_context``: torch has no way to batch it."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, slope):
        return 2 * slope


class _Tripled(torch.autograd.Function):
    """As torch asks for today."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return 3 * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        return None

    @staticmethod
    def backward(ctx, slope):
        return 3 * slope


class Own(nn.Module):
    """A layer of somebody's own before a linear one."""

    def __init__(self, change):
        super().__init__()
        self.change, self.linear = change, nn.Linear(6, 4)

    def forward(self, x):
        return self.linear(self.change(x))


def _by_value(x):
    return x if float(x.sum()) > 0 else -x


@pytest.mark.parametrize(
    ("change", "obstacle"),
    [
        (_Doubled.apply, "torch cannot batch a layer of its own: .*setup_context"),
        (_by_value, "torch cannot batch a layer of its own: .*item"),
        (_Tripled.apply, None),
        (torch.tanh, None),
    ],
)
def test_a_layer_of_ones_own_is_stacked_where_torch_can_and_else_trained_alone(change, obstacle):
    model = Own(change).train()
    choice = choose("auto", model, (6,), 8)
    if obstacle is None:
        assert choice.stacked
        return
    assert (choice.height, choice.reason[:24]) == (1, "one client at a time: to")
    with pytest.raises(ScenarioError, match=f"vectorize = on cannot be: {obstacle}"):
        choose("on", model, (6,), 8)
    how = LocalTraining(batch_size=8, lr=0.1)
    kernel = BlockKernel(Six(), model, FedAvg(), how, NoPrivacy(), (), 5, height=choice.height)
    sent = Broadcast(0, torch.zeros(Layout.of(model).num_parameters), torch.zeros(0))
    assert bool(kernel.train(sent, np.arange(2)).updates.vectors.norm(dim=1).all())
