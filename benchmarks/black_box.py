"""Black boxes: FZooS with and without its correction, RGF with each, and consensus-based particles.

Usage: black_box.py [--seeds 0 1 2] [--div 5.0] [--size 20] [--only NAME ...]. The problem of
arXiv:2308.04077: 5 clients with f_i(x) = .1 / d (c1_i . z^2 + c2_i . z + 1), z = 20 clip(x, 0, 1) - 10, whose
mean over clients is the same whatever ``div``; from x uniform in [0, 1]^d, 10 of the paper's rounds of 10
local steps. Prints F - F* and how many values were asked for.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gauntlet.clients.data.base import Dataset
from gauntlet.clients.data.targets import Targets
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.seeds import generator
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RunSpec

HERE, CLIENTS = str(Path(__file__).resolve()), 5
WAYS: dict[str, dict[str, Any]] = {
    "fzoos": {"name": "fzoos"},
    "fzoos none": {"name": "fzoos", "correction": "none"},
    **{f"rgf {c}": {"name": "rgf", "correction": c} for c in ("none", "prox", "scaf", "diff", "true")},
    **{
        f"cbo {dt} {sigma}": {"name": "cbo", "dt": dt, "sigma": sigma, "spread": 0.5}
        for dt in (0.1, 0.5, 1.0)
        for sigma in (0.7, 1.0)
    },
}


@dataclass(frozen=True)
class Quadratic:
    """One example a client: its c1 and c2, with the least value of f_i for a target.

    Attributes:
        size: d.
        div: How much clients differ.
        seed: What their c are drawn from.
    """

    size: int = 20
    div: float = 5.0
    seed: int = 0

    def load(self) -> Dataset:
        shares = generator(self.seed, "quadratic").dirichlet([1 / CLIENTS] * CLIENTS, (2, self.size))
        c = 1 + self.div * (np.moveaxis(shares, 2, 0) - 1 / CLIENTS)  # [n, 2, d]
        x = np.concatenate([c, np.ones((1, 2, self.size))])
        z = np.linspace(-10, 10, 4001)
        least = (x[:, 0, :, None] * z**2 + x[:, 1, :, None] * z).min(axis=2).sum(axis=1) + 1
        y = (0.1 / self.size * least[:, None]).astype(np.float32)
        x = x.astype(np.float32)
        told = Targets(("value",))
        groups = np.arange(CLIENTS)
        return Dataset(
            "quadratic", x[:-1], y[:-1], x[-1:], y[-1:], 0, value_range=(-50, 50), groups=groups, targets=told
        )


class Point(nn.Module):
    """x itself, uniform in [0, 1]^d at first; its output is f of the example's c."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.rand(size))

    def forward(self, c: Tensor) -> Tensor:
        z = 20 * self.x.clamp(0, 1) - 10
        return 0.1 / len(self.x) * ((c[:, 0] * z**2 + c[:, 1] * z).sum(dim=1, keepdim=True) + 1)


@dataclass(frozen=True)
class Box:
    """Builds a ``Point`` of as many coordinates as c has."""

    def build(self, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        return Point(input_shape[1])


def run(way: dict[str, Any], size: int, div: float, seed: int, rounds: int) -> tuple[list[float], int]:
    """Return F - F* after each of the paper's rounds, and the values that clients asked for."""
    name, options = way["name"], {k: v for k, v in way.items() if k != "name"}
    if name == "cbo":  # particles all over the cube, in as many rounds as spend what FZooS may
        options, rounds = options | {"seed": seed}, rounds * 107 // 100
    spec = RunSpec(
        seed=seed,
        rounds=rounds,
        num_clients=CLIENTS,
        data=PluginSpec(f"{HERE}:Quadratic", {"size": size, "div": div, "seed": seed}),
        partition=PluginSpec("natural"),
        model=PluginSpec(f"{HERE}:Box"),
        task=PluginSpec("regression"),
        training=LocalTraining(loss="mae"),
        algorithm=PluginSpec(name, options),
        defense=PluginSpec("mean", {"weighting": "uniform"}),
    )
    simulation, seen, asked = prepare(spec), [], 0.0
    goal = 0.1 * (-0.25 + 1 / size)
    x, _ = simulation.data.test()
    for step in simulation.steps(simulation.serial_pool()):
        asked += float(step.outcome.received.facts.sum())
        model = Point(size)
        model.x.data = step.state.params
        with torch.no_grad():
            seen.append(float(model(x)) - goal)
    return seen, int(asked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--div", type=float, default=5.0)
    parser.add_argument("--size", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=20, help="two a round of the paper")
    parser.add_argument("--only", nargs="*", default=list(WAYS))
    asked = parser.parse_args()
    for name in asked.only:
        before = time.process_time()
        found = [run(WAYS[name], asked.size, asked.div, seed, asked.rounds) for seed in asked.seeds]
        ends = [seen[-1] for seen, _ in found]
        values, spent = [queries for _, queries in found], time.process_time() - before
        print(f"{name:12} {' '.join(f'{e:8.4f}' for e in ends)}  queries {values}  {spent:.0f} s", flush=True)


if __name__ == "__main__":
    main()
