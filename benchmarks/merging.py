"""Merging by uncertainty against plain averages and sums, and task arithmetic at its best factor.

Usage: merging.py [--seeds 0 1 2] [--alphas 0.1 0.5] [--rounds 1 10]. Digits, logistic regression, 10 clients
by Dirichlet, 5 local epochs of SGD with batches of 16 at 0.1. Prints the accuracy after so many rounds.
"""

import argparse
from typing import Any

from gauntlet.core.contracts import LocalTraining
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RunSpec

TRAINING = {"local_epochs": 5, "batch_size": 16, "lr": 0.1}
UNIFORM = {"weighting": "uniform"}
WAYS: dict[str, tuple[PluginSpec, float, dict[str, Any]]] = {
    "mean by examples": (PluginSpec("fedavg"), 1.0, {}),
    "uniform mean": (PluginSpec("fedavg"), 1.0, UNIFORM),
    **{f"{f} times the mean": (PluginSpec("fedavg"), f, UNIFORM) for f in (2.0, 4.0, 10.0)},
    "merged": (PluginSpec("uncertainty_merge", TRAINING), 1.0, UNIFORM),
    "merged, delta 1": (PluginSpec("uncertainty_merge", {**TRAINING, "delta": 1.0}), 1.0, UNIFORM),
    "merged, last": (PluginSpec("uncertainty_merge", {**TRAINING, "prior": "last"}), 1.0, UNIFORM),
}


def accuracy(way: str, seed: int, alpha: float, rounds: list[int]) -> list[float]:
    """Return the accuracy after each of these numbers of rounds."""
    algorithm, factor, weighting = WAYS[way]
    own = algorithm.name == "fedavg"
    spec = RunSpec(
        seed=seed,
        rounds=max(rounds),
        num_clients=10,
        data=PluginSpec("digits"),
        partition=PluginSpec("dirichlet", {"alpha": alpha}),
        model=PluginSpec("logistic_regression"),
        training=LocalTraining(**TRAINING),
        algorithm=algorithm,
        defense=PluginSpec("mean", weighting),
        server_optimizer=PluginSpec("sgd", {"lr": factor} if own else {}),
    )
    simulation = prepare(spec)
    seen = [step.score.accuracy for step in simulation.steps(simulation.serial_pool())]
    return [seen[number - 1] for number in rounds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--alphas", type=float, nargs="+", default=[0.1, 0.5])
    parser.add_argument("--rounds", type=int, nargs="+", default=[1, 10])
    asked = parser.parse_args()
    for alpha in asked.alphas:
        for way in WAYS:
            found = [accuracy(way, seed, alpha, asked.rounds) for seed in asked.seeds]
            columns = [" ".join(f"{one[n]:.3f}" for one in found) for n in range(len(asked.rounds))]
            print(f"alpha {alpha}  {way:20} " + "   ".join(columns), flush=True)


if __name__ == "__main__":
    main()
