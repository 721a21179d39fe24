"""Clients that let something out, as a defense meets them."""

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.training.defending import Defending, TrainedClients
from gauntlet.core.layout import Layout

SIZES = [1, 3]


def inputs(client):
    return torch.rand(SIZES[client], 1, 3, 3, generator=torch.Generator().manual_seed(client))


def labels(client):
    return torch.arange(SIZES[client]) % 4


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 12), nn.Tanh(), nn.Linear(12, 4))


@pytest.fixture
def visit_of():
    """From a defense and a model to two clients that trained in a round, and the model's layout."""

    def make(defense, model, round_=0, ids=(0, 1), seed=0):
        layout = Layout.of(model)
        params = layout.flatten(dict(model.named_parameters())).detach()
        at_hand = lambda client, _: (inputs(client), labels(client))  # noqa: E731
        defending = Defending(defense, model, seed, at_hand, lambda *who: [np.arange(who[-1])])
        return TrainedClients(Broadcast(round_, params, torch.zeros(0)), list(ids), defending)

    return make


@pytest.fixture
def update_of():
    """From a model to what two clients would let out, drawn.  # [2, P]"""

    def make(model, std=0.1):
        size = Layout.of(model).num_parameters
        return torch.randn(2, size, generator=torch.Generator().manual_seed(1)) * std

    return make
