"""Corrected losses where half the clients have wrong labels: against the plain loss, and with a wrong T.

Usage: label_noise.py [--seeds 0 1 2] [--rate 0.4]. Digits, 10 clients IID, MLP 64-64-10, 40 rounds of two
local epochs with batches of 32 at 0.1; five clients call ``rate`` of their digits by another one of the ten,
at random and once for all. Prints the test accuracy after the last round, and the best of all rounds.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gauntlet.core.contracts import LocalTraining
from gauntlet.core.seeds import generator as seeded
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec, RunSpec

HERE = str(Path(__file__).resolve())


@dataclass(frozen=True)
class WrongLabels:
    """A share of labels is another one, the same in all rounds: drawn from the examples themselves.

    Attributes:
        rate: That share, between 0 and 1.
        seed: What is drawn from, besides the examples.
    """

    rate: float
    seed: int

    honest: ClassVar[bool] = True

    def poison(self, x: Tensor, y: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        stream = seeded(self.seed, "wrong labels", int(x.double().sum() * 256))
        wrong = torch.from_numpy(stream.random(len(y)) < self.rate)
        other = torch.from_numpy(stream.integers(1, 10, len(y)))
        return x, torch.where(wrong, (y + other) % 10, y)


def ways(rate: float) -> dict[str, PluginSpec]:
    reversed_ = [[0.5 if j == 9 - i else 0.5 if j == i else 0.0 for j in range(10)] for i in range(10)]
    named: dict[str, dict[str, Any]] = {
        "forward, its rate": {"rate": rate},
        "forward, half of it": {"rate": rate / 2},
        "backward, half": {"form": "backward", "rate": rate / 2},
        "backward, half, free": {"form": "backward", "rate": rate / 2, "least": None},
        "forward, 0.8": {"rate": 0.8},
        "forward, wrong T": {"matrix": reversed_},
    }
    return {"plain": PluginSpec("fedavg")} | {k: PluginSpec("label_correction", v) for k, v in named.items()}


def accuracies(algorithm: PluginSpec, rate: float, seed: int) -> list[float]:
    spec = RunSpec(
        seed=seed,
        rounds=40,
        num_clients=10,
        data=PluginSpec("digits"),
        partition=PluginSpec("iid"),
        model=PluginSpec("mlp", {"hidden": [64]}),
        training=LocalTraining(local_epochs=2, batch_size=32, lr=0.1),
        algorithm=algorithm,
        roles=(RoleSpec(PluginSpec(f"{HERE}:WrongLabels", {"rate": rate, "seed": seed}), (0, 1, 2, 3, 4)),),
    )
    simulation = prepare(spec)
    return [step.score.accuracy for step in simulation.steps(simulation.serial_pool())]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rate", type=float, default=0.4)
    asked = parser.parse_args()
    for name, algorithm in ways(asked.rate).items():
        seen = [accuracies(algorithm, asked.rate, seed) for seed in asked.seeds]
        last, best = (" ".join(f"{f(one):.3f}" for one in seen) for f in (lambda s: s[-1], max))
        print(f"{name:22} last {last}  best {best}", flush=True)


if __name__ == "__main__":
    main()
