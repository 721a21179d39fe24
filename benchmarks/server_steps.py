"""Server steps that look at tensors: SinkGD against others, and TAG on classes that take turns.

Usage: server_steps.py [--seeds 0 1 2] [--rounds 12] [--turns]. Digits, 10 clients by Dirichlet 0.5, MLP
64-32-10, one local epoch with batches of 32 at 0.1; every optimizer at each of its server step sizes. With
``--turns`` five clients hold digits 0 to 4 and five 5 to 9, by turns of 8 rounds, four turns: prints the
accuracy on the first group after its turn, after the second's and at the end, of all classes and of its own.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gauntlet.clients.data.base import Dataset
from gauntlet.clients.data.digits import Digits
from gauntlet.core.contracts import LocalTraining, Sampling
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RunSpec

HERE, TURN = str(Path(__file__).resolve()), 8
GRID = {
    "sgd": (0.3, 1.0, 3.0),
    "adam": (0.01, 0.03, 0.1, 0.3),
    "sinkgd": (0.0005, 0.0015, 0.005, 0.015, 0.05),
}
TURNS: dict[str, tuple[float, ...]] = {
    "sgd": (0.3, 1.0),
    "adam": (0.003, 0.01, 0.03),
    "task_accumulated": (0.0003, 0.001, 0.003, 0.01, 0.03),
}


@dataclass(frozen=True)
class TwoGroups:
    """Digits, of which clients 0 to 4 hold 0 to 4, and 5 to 9 the others."""

    def load(self) -> Dataset:
        from dataclasses import replace

        whole = Digits().load()
        return replace(whole, groups=np.arange(len(whole.y)) % 5 + 5 * (whole.y > 4))


@dataclass(frozen=True)
class ByTurns:
    """All clients of one half, then all of the other."""

    periodic: ClassVar[bool] = True

    def sampling(self, num_clients: int) -> Sampling:
        return Sampling("other", num_clients, 0.5, num_clients / 2)

    def sample(self, num_clients: int, generator: np.random.Generator, round_: int = 0) -> Any:
        half = num_clients // 2
        return np.arange(half) + half * (round_ // TURN % 2)


def spec_of(name: str, options: dict[str, Any], seed: int, rounds: int, turns: bool) -> RunSpec:
    places: dict[str, Any] = {
        "data": PluginSpec("digits"),
        "partition": PluginSpec("dirichlet", {"alpha": 0.5}),
    }
    if turns:
        places = {
            "data": PluginSpec(f"{HERE}:TwoGroups"),
            "partition": PluginSpec("natural"),
            "sampler": PluginSpec(f"{HERE}:ByTurns"),
        }
    return RunSpec(
        seed=seed,
        rounds=rounds,
        num_clients=10,
        model=PluginSpec("mlp", {"hidden": [32]}),
        training=LocalTraining(batch_size=32, lr=0.1),
        server_optimizer=PluginSpec(name, options),
        evaluate_every=1000,
        **places,
    )


def grid(seeds: list[int], rounds: int) -> None:
    for name, steps in GRID.items():
        for lr in steps:
            found = []
            for seed in seeds:
                simulation = prepare(spec_of(name, {"lr": lr}, seed, rounds, False))
                *_, last = simulation.steps(simulation.serial_pool())
                found.append(last.score.accuracy)
            print(
                f"{name:8} {lr:7} {' '.join(f'{a:.3f}' for a in found)}  mean {np.mean(found):.3f}",
                flush=True,
            )


def groups(simulation: Any, params: Tensor) -> list[float]:
    """Return the accuracy on 0 to 4 of all classes and of these, and on 5 to 9 likewise."""
    x, y = simulation.data.test()
    w1, b1, w2, b2 = simulation.plan.layout.views(params).values()
    outputs, found = torch.relu(x.flatten(1) @ w1.T + b1) @ w2.T + b2, []
    for own in (slice(0, 5), slice(5, 10)):
        rows = (y >= own.start) & (y < own.stop)
        some, labels = outputs[rows], y[rows]
        found += [some.argmax(dim=1) == labels, some[:, own].argmax(dim=1) + own.start == labels]
    return [float(one.float().mean()) for one in found]


def turns(seeds: list[int]) -> None:
    print("first group after its turn | after the others': first group, its own classes alone, second group,")
    print("its own | after four turns: likewise")
    for name, steps in TURNS.items():
        for lr in steps:
            lines = []
            for seed in seeds:
                options = {"lr": lr} | ({"rounds_per_task": TURN} if name == "task_accumulated" else {})
                simulation = prepare(spec_of(name, options, seed, 4 * TURN, True))
                states = [step.state.params for step in simulation.steps(simulation.serial_pool())]
                seen = [groups(simulation, states[n * TURN - 1]) for n in (1, 2, 4)]
                lines.append([seen[0][0], *seen[1], *seen[2]])
            columns = [" ".join(f"{v:.2f}" for v in column) for column in zip(*lines, strict=True)]
            print(f"{name:16} {lr:6}: {' | '.join(columns)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--turns", action="store_true")
    asked = parser.parse_args()
    if asked.turns:
        turns(asked.seeds)
    else:
        grid(asked.seeds, asked.rounds)


if __name__ == "__main__":
    main()
