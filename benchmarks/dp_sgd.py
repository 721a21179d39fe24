"""What privacy costs in time: example-level DP-SGD beside Opacus, and user-level privacy beside none.

Usage: dp_sgd.py [cpu] [examples|rounds|users] ... (examples and users by default). Needs the extra ``test``,
for Opacus. All in a table take turns; figures are ratios of medians. Seconds on two threads (a client's round
on one) mean something on an idle machine only; ``cpu`` counts CPU seconds on one thread instead, which is
nothing for ``rounds``, whose clients train in other processes.
"""

import argparse
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn
from workloads import NAMES, model

from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.core.contracts import LocalTraining
from gauntlet.privacy.dp_sgd import DpSgd
from gauntlet.server.simulation import prepare
from gauntlet.sims.scenario import make_scenario

HERE = Path(__file__).parent
EXAMPLES, BATCH, LEARNING_RATE, CLIP_NORM, NOISE, DELTA = 640, 64, 0.1, 1.0, 1.0, 1e-5
TURNS, ROUNDS = 7, 24
Turn = Callable[[], object]
Clock = Callable[[], float]


class OneClient:
    """One client with random images; Poisson batches of 64 out of 640."""

    num_classes, input_shape = 10, (1, 28, 28)

    def __init__(self) -> None:
        stream = np.random.default_rng(0)
        self.x = torch.from_numpy(stream.standard_normal((EXAMPLES, 1, 28, 28)).astype(np.float32))
        self.y = torch.from_numpy(stream.integers(0, 10, EXAMPLES))

    def num_examples(self, client_id: int) -> int:
        return EXAMPLES

    def client(self, client_id: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.x, self.y


def ours(name: str) -> tuple[Turn, list[np.ndarray]]:
    """Return what trains the client for one pass, and its batches, which Opacus gets too."""
    net = model(name)
    how = LocalTraining(local_epochs=1, batch_size=BATCH, lr=LEARNING_RATE)
    privacy = DpSgd(CLIP_NORM, noise_multiplier=NOISE, delta=DELTA)
    kernel = BlockKernel(OneClient(), net, FedAvg(), how, privacy, (), 0)
    params = kernel.layout.flatten(dict(net.named_parameters())).clone()
    broadcast = Broadcast(0, params, torch.zeros(0))
    return lambda: kernel.train(broadcast, np.array([0])), kernel.batches(0, 0, EXAMPLES)


def opacus(name: str, mode: str, batches: list[np.ndarray]) -> Turn:
    """Return what takes the same steps with Opacus."""
    from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
    from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping

    data, net, loss = OneClient(), model(name), nn.CrossEntropyLoss()
    options = {"noise_multiplier": NOISE, "max_grad_norm": CLIP_NORM, "expected_batch_size": BATCH}
    if mode == "ghost":
        wrapped = GradSampleModuleFastGradientClipping(net, max_grad_norm=CLIP_NORM, use_ghost_clipping=True)
        sgd = torch.optim.SGD(wrapped.parameters(), LEARNING_RATE)
        optimizer = DPOptimizerFastGradientClipping(sgd, **options)
        criterion = DPLossFastGradientClipping(wrapped, optimizer, loss)
    else:
        wrapped = GradSampleModule(net, force_functorch=mode == "functorch")
        optimizer = DPOptimizer(torch.optim.SGD(wrapped.parameters(), LEARNING_RATE), **options)
        criterion = loss

    def run() -> None:
        for rows in batches:
            optimizer.zero_grad()
            criterion(wrapped(data.x[rows]), data.y[rows]).backward()
            optimizer.step()

    return run


def plain(name: str, batches: list[np.ndarray]) -> Turn:
    """Return what takes the same steps with torch alone, without privacy."""
    data, net = OneClient(), model(name)
    optimizer = torch.optim.SGD(net.parameters(), LEARNING_RATE)

    def run() -> None:
        for rows in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(data.x[rows]), data.y[rows]).backward()
            optimizer.step()

    return run


def medians(
    clock: Clock, turns: Mapping[str, Turn], count: int, warm: int = 2
) -> dict[str, tuple[float, float]]:
    """Return each one's median and least seconds, all of them taking turns."""
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(count + warm):
        for name, turn in turns.items():
            begin = clock()
            turn()
            if number >= warm:
                seconds[name].append(clock() - begin)
    return {name: (statistics.median(s), min(s)) for name, s in seconds.items()}


def examples(clock: Clock) -> None:
    """Print what the steps of one pass take, as ratios to ours."""
    names = ("mcnn", "mlp")
    found = {}
    for name in names:
        run, batches = ours(name)
        turns = {"gauntlet, dp_sgd": run}
        turns |= {f"Opacus, {mode}": opacus(name, mode, batches) for mode in ("hooks", "functorch", "ghost")}
        turns["torch, no privacy"] = plain(name, batches)
        found[name] = medians(clock, turns, TURNS)
        print(f"{name}: ours {found[name]['gauntlet, dp_sgd'][0]:.3f} s a pass", file=sys.stderr)
    print(
        f"\n| time of ten private steps, Poisson batches of {BATCH}, over ours | mcnn | mlp |\n|---|---|---|"
    )
    for system in found["mcnn"]:
        cells = (
            " (".join(f"{found[n][system][i] / found[n]['gauntlet, dp_sgd'][i]:.2f}" for i in (0, 1))
            for n in names
        )
        print(f"| {system} | " + " | ".join(f"{cell})" for cell in cells) + " |")
    print("\nRatios of medians (of the fastest turns).")


def rounds(clock: Clock) -> None:
    """Print what a round of 8 such clients takes on two cores, whoever shares them out and how."""
    names, clients = ("mcnn", "mlp"), 8
    models = {"mlp": {"name": "mlp", "hidden": [200]}, "mcnn": "mcnn"}
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for name in names:
        scenario = make_scenario(
            {
                "name": name,
                "rounds": TURNS + 3,
                "num_clients": clients,
                "data": {
                    "name": f"{HERE}/workloads.py:RandomImages",
                    "examples": EXAMPLES,
                    "clients": clients,
                },
                "partition": f"{HERE}/workloads.py:InOrder",
                "model": models[name],
                "training": {"batch_size": BATCH, "lr": LEARNING_RATE},
                "evaluation": {"every": TURNS + 3},
                "privacy": {
                    "name": "dp_sgd",
                    "clip_norm": CLIP_NORM,
                    "noise_multiplier": NOISE,
                    "delta": DELTA,
                },
            }
        )
        simulation = prepare(scenario.run_spec())
        pool = simulation.ray_pool(2)
        _, batches = ours(name)
        one_client = opacus(name, "hooks", batches)
        turns: dict[str, Turn] = {"gauntlet, 2 workers of a thread": partial(next, simulation.steps(pool))}
        turns["Opacus, hooks, 2 threads"] = partial(_repeat, one_client, clients)
        found[name] = medians(clock, turns, TURNS)
        pool.close()
    print(f"\n| time of a round of {clients} clients, ten private steps each, over ours | mcnn | mlp |")
    print("|---|---|---|")
    for system in found["mcnn"]:
        cells = [found[n][system][0] / found[n]["gauntlet, 2 workers of a thread"][0] for n in names]
        print(f"| {system} | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")


def _repeat(turn: Turn, times: int) -> None:
    for _ in range(times):
        turn()


def users(clock: Clock) -> None:
    """Print what a round with central, user-level privacy takes over one without."""
    models = {"logreg": "logistic_regression", "mlp": {"name": "mlp", "hidden": [200]}, "mcnn": "mcnn"}
    mechanisms = {
        "no privacy": "none",
        "gaussian, fixed clip norm": {
            "name": "gaussian",
            "clip_norm": CLIP_NORM,
            "noise_multiplier": NOISE,
            "delta": DELTA,
        },
    }
    print("\n| time of a round with user-level privacy over one without | " + " | ".join(NAMES) + " |")
    print("|---|" + "---|" * len(NAMES))
    cells = []
    for name in NAMES:
        turns = {}
        for label, mechanism in mechanisms.items():
            scenario = make_scenario(
                {
                    "name": name,
                    "rounds": ROUNDS + 3,
                    "num_clients": 100,
                    "data": f"{HERE}/workloads.py:RandomImages",
                    "partition": f"{HERE}/workloads.py:InOrder",
                    "model": models[name],
                    "training": {"batch_size": 10, "lr": 0.1},
                    "sampler": {"name": "fixed_size", "cohort_size": 50},
                    "defense": {"name": "mean", "weighting": "fixed"},
                    "evaluation": {"every": ROUNDS + 3},
                    "privacy": mechanism,
                }
            )
            simulation = prepare(scenario.run_spec())
            turns[label] = partial(next, simulation.steps(simulation.serial_pool()))
        found = medians(clock, turns, ROUNDS, warm=3)
        base, private = found["no privacy"], found["gaussian, fixed clip norm"]
        cells.append(f"{private[0] / base[0]:.3f} ({private[1] / base[1]:.3f})")
    print("| gaussian, fixed clip norm | " + " | ".join(cells) + " |")
    print("\nRatios of medians (of the fastest rounds); serial, sums formed where the clients are trained.")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    known = ["examples", "rounds", "users"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], "cpu", *known], default=[])
    parts = parser.parse_args().parts
    clock, threads = (time.process_time, 1) if parts[:1] == ["cpu"] else (time.perf_counter, 2)
    torch.set_num_threads(threads)
    told = ", ".join(f"{p} {version(p)}" for p in ("torch", "opacus", "numpy"))
    print(f"{platform.machine()}, Python {platform.python_version()}, {told}, {threads} threads")
    for part in [p for p in parts if p != "cpu"] or ("examples", "users"):
        {"examples": examples, "rounds": rounds, "users": users}[part](clock)
