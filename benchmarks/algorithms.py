"""What algorithms cost: clients a second of CPU with rows, as a ratio to FedAvg's, in one process.

Usage: algorithms.py [ROUNDS] [NAME ...]. Rounds of all algorithms are run in turn, so that a slow minute of
the machine meets them all; a figure is the ratio of the medians of the processor time that rounds take.
"""

import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

from asked import words

from gauntlet.server.simulation import prepare
from gauntlet.sims.scenario import make_scenario

HERE = Path(__file__).parent
MODELS: dict[str, Any] = {"logreg": "logistic_regression", "mlp": {"name": "mlp", "hidden": [200]}}
NAMES = ("fedavg", "scaffold", "fednova", "fedprox", "feddyn", "moon", "ditto")
WARM = 3  # rounds that are not counted


def rounds_of(workload: str, algorithm: str) -> Iterator[Any]:
    """Return the rounds of 50 of 100 clients, six steps of ten examples each, evaluated in the last."""
    values = {
        "name": workload,
        "rounds": 10_000,
        "num_clients": 100,
        "data": f"{HERE}/workloads.py:RandomImages",
        "partition": f"{HERE}/workloads.py:InOrder",
        "model": MODELS[workload],
        "training": {"batch_size": 10, "lr": 0.1},
        "sampler": {"name": "fixed_size", "cohort_size": 50},
        "evaluation": {"every": 10_000},
        "algorithm": algorithm,
        "defense": {"name": "mean", "weighting": "uniform"},
        "runtime": {"pool": "serial"},
    }
    simulation = prepare(replace(make_scenario(values).run_spec(), rows=True))
    return simulation.steps(simulation.serial_pool())


def seconds(workload: str, names: list[str], rounds: int) -> dict[str, float]:
    """Return each algorithm's median processor seconds a round."""
    going = {name: rounds_of(workload, name) for name in names}
    found: dict[str, list[float]] = {name: [] for name in names}
    for number in range(WARM + rounds):
        for name, steps in going.items():
            begin = process_time()
            next(steps)
            if number >= WARM:
                found[name].append(process_time() - begin)
    return {name: statistics.median(times) for name, times in found.items()}


def main() -> None:
    """Measure, and print a Markdown table."""
    given = words(__doc__, rounds=40, names=list(NAMES))
    rounds, names = given.rounds, ["fedavg", *(n for n in given.names if n != "fedavg")]
    print("| clients a second with rows, as a ratio to fedavg | " + " | ".join(names) + " |")
    print("|---|" + "---|" * len(names))
    for workload in MODELS:
        usable = [n for n in names if not (workload == "logreg" and n == "moon")]  # it has no features
        found = seconds(workload, usable, rounds)
        cells = [f"{found['fedavg'] / found[n]:.2f}" if n in found else "" for n in names]
        print(f"| {workload} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
