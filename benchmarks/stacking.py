"""Stacked clients against one client at a time, on one thread, without a server. Run it on an idle machine.

Usage: stacking.py. Prints ratios of medians over 9 rounds after 3; blocks of 13 clients (6 for the last).
"""

import statistics
import time

import numpy as np
import torch
from workloads import data

from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.kernel import BlockKernel, Broadcast, one_thread
from gauntlet.clients.models import MODELS
from gauntlet.core.contracts import LocalTraining
from gauntlet.privacy.no_privacy import NoPrivacy

CASES = [
    ("logistic_regression", {}, 13),
    ("mlp", {"hidden": [64]}, 13),
    ("mlp", {"hidden": [200]}, 13),
    ("mlp", {"hidden": [512, 256]}, 13),
    ("mcnn", {}, 13),
    ("lenet_mudhog", {}, 13),
    ("cnn_mcmahan", {}, 6),
]


class RandomClients:
    """The workloads' clients as the kernel asks for them."""

    def __init__(self) -> None:
        self.x, self.y = data()

    def client(self, client_id: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.x[client_id], self.y[client_id]


def seconds(name: str, options: dict[str, object], clients: int, stacked: bool) -> tuple[float, int]:
    """Return the median seconds of a block's round, and the model's parameters."""
    torch.manual_seed(0)
    model = MODELS.build(name, options).build((1, 28, 28), 10)
    how = LocalTraining(batch_size=10, lr=0.1)
    kernel = BlockKernel(RandomClients(), model, FedAvg(), how, NoPrivacy(), (), 0, stacked=stacked)
    params = kernel.layout.flatten(dict(model.named_parameters()))
    times = []
    with one_thread():
        for t in range(12):
            begin = time.perf_counter()
            kernel.train(Broadcast(t, params, torch.zeros(0)), np.arange(clients))
            times.append(time.perf_counter() - begin)
    return statistics.median(times[3:]), len(params)


for name, options, clients in CASES:
    stacked, size = seconds(name, options, clients, True)
    alone, _ = seconds(name, options, clients, False)
    print(
        f"{name} {options or ''} ({size:,} parameters): {alone / stacked:.2f} times as fast stacked",
        flush=True,
    )
