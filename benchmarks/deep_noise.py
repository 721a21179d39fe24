"""Does annealed gradient noise help a network of 20 hidden layers?

Usage: deep_noise.py [--seeds 0 1 2] [--rounds 1500] [--etas 0 0.01 0.1 1] [--inits small he]. MNIST, 20
hidden layers of 50 ReLU units, whose weights are N(0, 0.1^2) (``small``, the paper's simple start) or of He's
width; a round is one SGD step of one of 10 clients with a batch of 64 at 0.1, and ``annealed`` noise of
variance eta / (1 + t)^0.55 in the units of the gradient. Prints the accuracy after the last round.
"""

import argparse
import time
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path

from torch import nn

from gauntlet.core.contracts import LocalTraining
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RunSpec

HERE, LR = str(Path(__file__).resolve()), 0.1


@dataclass(frozen=True)
class Deep:
    """Hidden layers of 50 ReLU units, with biases of 0.

    Attributes:
        std: Standard deviation of the weights; None: the root of 2 / inputs.
        layers: How many are hidden.
    """

    std: float | None = None
    layers: int = 20

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        sizes = [prod(input_shape), *[50] * self.layers, num_classes]
        parts: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(sizes):
            layer = nn.Linear(inputs, outputs)
            nn.init.normal_(layer.weight, std=self.std or (2 / inputs) ** 0.5)
            nn.init.zeros_(layer.bias)
            parts += [layer, nn.ReLU()]
        return nn.Sequential(*parts[:-1])


def accuracy(init: str, eta: float, seed: int, rounds: int) -> float:
    noise = PluginSpec("annealed", {"eta": eta * LR**2}) if eta else PluginSpec("none")
    spec = RunSpec(
        seed=seed,
        rounds=rounds,
        num_clients=10,
        data=PluginSpec("mnist"),
        partition=PluginSpec("iid"),
        model=PluginSpec(f"{HERE}:Deep", {"std": 0.1} if init == "small" else {}),
        training=LocalTraining(local_steps=1, batch_size=64, lr=LR),
        sampler=PluginSpec("fixed_size", {"cohort_size": 1}),
        privacy=noise,
        evaluate_every=100_000,
    )
    simulation = prepare(spec)
    for step in simulation.steps(simulation.serial_pool()):
        last = step.score
    return float(last.accuracy)  # type: ignore[union-attr, arg-type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=1500)
    parser.add_argument("--etas", type=float, nargs="+", default=[0.0, 0.01, 0.1, 1.0])
    parser.add_argument("--inits", nargs="+", default=["small", "he"])
    asked = parser.parse_args()
    for init in asked.inits:
        for eta in asked.etas:
            before = time.process_time()
            found = [accuracy(init, eta, seed, asked.rounds) for seed in asked.seeds]
            spent = time.process_time() - before
            print(f"{init:6} eta {eta:5}  {' '.join(f'{a:.3f}' for a in found)}  {spent:.0f} s", flush=True)


if __name__ == "__main__":
    main()
