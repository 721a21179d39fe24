"""A compiled step of a stack against the traced one, on one thread. Run it on an idle machine.

Usage: compiling.py. Local training of a stack as high as the rule has it, batches of 10, taking turns; prints
ratios of medians over 15 rounds after 3, and how many rounds of the traced step the compiler itself takes.
"""

import statistics
import time

import numpy as np
import torch
from asked import words
from stacking import CASES, RandomClients

from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.models import MODELS
from gauntlet.clients.placement.device import one_thread
from gauntlet.clients.placement.stackable import choose
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.core.contracts import LocalTraining
from gauntlet.privacy.no_privacy import NoPrivacy


def seconds(name: str, options: dict[str, object]) -> dict[bool, list[float]]:
    """Return the seconds of every round of a stack: with the traced step, and with the compiled one."""
    kernels, times = {}, {False: list[float](), True: list[float]()}
    for compiled in times:
        torch.manual_seed(0)
        model = MODELS.build(name, options).build((1, 28, 28), 10)
        height = choose("on", model).height
        how = LocalTraining(batch_size=10, local_steps=6, lr=0.1)
        kernels[compiled] = BlockKernel(
            RandomClients(10), model, FedAvg(), how, NoPrivacy(), (), 0, height=height, compiled=compiled
        )
    params = kernels[True].layout.flatten(dict(model.named_parameters())).clone()
    with one_thread():
        for t in range(18):
            for compiled, kernel in kernels.items():
                begin = time.perf_counter()
                kernel.train(Broadcast(t, params, torch.zeros(0)), np.arange(height))
                times[compiled].append(time.perf_counter() - begin)
    return times


def main() -> None:
    """Measure and print."""
    words(__doc__)
    for name, options in CASES:
        times = seconds(name, options)
        traced, compiled = (statistics.median(times[how][3:]) for how in (False, True))
        price = (times[True][0] - compiled) / traced
        print(
            f"{name} {options or ''}: {traced / compiled:.2f} times as fast, price {price:.0f} rounds",
            flush=True,
        )


if __name__ == "__main__":
    main()
