"""What one client holds does not reach another one's update through the padding of their stack."""

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.algorithms.gradient_descent import GradientDescent
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.layout import Layout
from gauntlet.core.seeds import generator
from gauntlet.privacy.no_privacy import NoPrivacy

SIZES = (7, 23, 1, 16)  # examples a client: every kind of rest that batches of 8 can leave


class Ragged:
    """Clients of different sizes; the first one's values are ``huge``, if given."""

    num_classes, input_shape = 4, (6,)

    def __init__(self, huge: float | None = None) -> None:
        self.huge = huge

    def client(self, client_id):
        stream = generator(3, "ragged", client_id)
        x = torch.from_numpy(stream.standard_normal((SIZES[client_id], 6)).astype(np.float32))
        y = torch.from_numpy(stream.integers(0, 4, SIZES[client_id]))
        return (torch.full_like(x, self.huge) if self.huge and client_id == 0 else x), y


@pytest.mark.parametrize("rule", [FedAvg(), GradientDescent(2)], ids=lambda r: type(r).__name__)
@pytest.mark.parametrize("huge", [3e38, float("inf")])
def test_one_clients_infinite_example_stays_its_own_trouble(huge, rule):
    """Padding with another's example would be 0 times infinity, and everybody's message empty."""

    model = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 9), nn.Softmax(1), nn.Linear(9, 4))
    params = Layout.of(model).flatten(dict(model.named_parameters()))
    how = LocalTraining(local_epochs=1, batch_size=8, lr=0.1)
    found = []
    for data in (Ragged(), Ragged(huge)):
        kernel = BlockKernel(data, model, rule, how, NoPrivacy(), (), 5, height=32)
        sent = Broadcast(1, params * 10, torch.zeros(0))
        found.append(kernel.train(sent, np.arange(len(SIZES))).updates.vectors)

    assert not found[1][0].isfinite().all()
    assert torch.equal(found[1][1:], found[0][1:])
