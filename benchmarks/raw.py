"""A plain PyTorch FedAvg loop: what the arithmetic costs. Usage: raw.py WORKLOAD ROUNDS PROCESSES."""

import copy
import sys
import time
from multiprocessing import get_context

import torch
from torch import nn
from workloads import BATCH, COHORT, EXAMPLES, LEARNING_RATE, data, model


def share_of_a_cohort(name: str, clients: range, rounds: int) -> list[float]:
    """Return the seconds of each round for some of the clients, on one thread."""
    torch.set_num_threads(1)
    inputs, labels = data()
    server, seconds = model(name), []
    for _ in range(rounds):
        start = time.perf_counter()
        total = [torch.zeros_like(p) for p in server.parameters()]
        for k in clients:
            local = copy.deepcopy(server)
            optimizer = torch.optim.SGD(local.parameters(), LEARNING_RATE)
            for s in range(0, EXAMPLES, BATCH):
                optimizer.zero_grad()
                output = local(inputs[k, s : s + BATCH])
                nn.functional.cross_entropy(output, labels[k, s : s + BATCH]).backward()
                optimizer.step()
            with torch.no_grad():
                for t, p in zip(total, local.parameters(), strict=True):
                    t += p / len(clients)
        with torch.no_grad():
            for p, t in zip(server.parameters(), total, strict=True):
                p.copy_(t)
        seconds.append(time.perf_counter() - start)
    return seconds


def seconds(name: str, rounds: int, processes: int) -> list[float]:
    """Return each round's seconds; with several processes, those of the slowest one."""
    shares = [range(i, COHORT, processes) for i in range(processes)]
    if processes == 1:
        return share_of_a_cohort(name, shares[0], rounds)
    with get_context("spawn").Pool(processes) as pool:
        times = pool.starmap(share_of_a_cohort, [(name, share, rounds) for share in shares])
    return [max(t) for t in zip(*times, strict=True)]


if __name__ == "__main__":
    print(*seconds(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
