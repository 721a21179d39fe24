"""Stacked clients against one client at a time, on one thread, without a server. Run it on an idle machine.

Usage: stacking.py [BATCH_SIZE]. Prints ratios of medians over 9 rounds after 3; stacks are as high as the
rule has them.
"""

import statistics
import time

import numpy as np
import torch
from asked import words
from workloads import data

from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.models import MODELS
from gauntlet.clients.placement.device import one_thread
from gauntlet.clients.placement.stackable import Choice, choose
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.core.contracts import LocalTraining
from gauntlet.privacy.no_privacy import NoPrivacy

CASES = [
    ("logistic_regression", {}),
    ("mlp", {"hidden": [64]}),
    ("mlp", {"hidden": [200]}),
    ("mlp", {"hidden": [512, 256]}),
    ("mcnn", {}),
    ("lenet_sigmoid", {}),
    ("lenet_mudhog", {}),
    ("cnn_mudhog_fashion", {}),
    ("cnn_mcmahan", {}),
]


class RandomClients:
    """The workloads' clients as the kernel asks for them."""

    num_classes = 10

    def __init__(self, batch_size: int) -> None:
        x, y = data()
        repeats = -(-batch_size // len(y[0]))
        self.x, self.y = x.repeat(1, repeats, 1, 1, 1), y.repeat(1, repeats)

    def client(self, client_id: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.x[client_id], self.y[client_id]


def seconds(name: str, options: dict[str, object], stacked: bool, batch_size: int) -> tuple[float, Choice]:
    """Return the median seconds of a block's round a client, and what the rule says."""
    torch.manual_seed(0)
    model = MODELS.build(name, options).build((1, 28, 28), 10)
    choice = choose("on", model)
    clients = choice.height
    height = clients if stacked else 1
    how = LocalTraining(batch_size=batch_size, local_steps=6, lr=0.1)
    kernel = BlockKernel(RandomClients(batch_size), model, FedAvg(), how, NoPrivacy(), (), 0, height=height)
    params = kernel.layout.flatten(dict(model.named_parameters()))
    times = []
    with one_thread():
        for t in range(12):
            begin = time.perf_counter()
            kernel.train(Broadcast(t, params, torch.zeros(0)), np.arange(clients))
            times.append(time.perf_counter() - begin)
    return statistics.median(times[3:]) / clients, choose("auto", model, batch_size=batch_size)


def main() -> None:
    """Measure and print."""
    batch = words(__doc__, batch=10).batch
    for name, options in CASES:
        stacked, choice = seconds(name, options, True, batch)
        alone, _ = seconds(name, options, False, batch)
        ratio = alone / stacked
        print(f"{name} {options or ''}: {ratio:.2f} times as fast stacked ({choice.reason})", flush=True)


if __name__ == "__main__":
    main()
