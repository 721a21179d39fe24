"""What algorithms cost: clients a second of CPU with rows, as a ratio to FedAvg's, in one process.

Usage: algorithms.py [ROUNDS] [NAME ...]. Rounds of all algorithms are run in turn, so that a slow minute of
the machine meets them all; a figure is the ratio of the medians of the processor time that rounds take. Where
``PFL_PYTHON`` names an interpreter that has pfl, its SCAFFOLD is measured beside ours, in turn.
"""

import os
import statistics
import subprocess
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
NAMES = ("fedavg", "scaffold", "fednova", "fedprox", "feddyn", "moon", "ditto", "qffl", "gm_split")
WARM = 3  # rounds that are not counted
TURNS = 2  # of pfl and us


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


def of_pfl(workload: str, algorithm: str) -> list[float]:
    """Return processor seconds of the second half of eight of pfl's rounds."""
    command = [os.environ["PFL_PYTHON"], str(HERE / "pfl_rounds.py"), workload, "9", algorithm]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE).stdout
    return [float(word) for word in printed.splitlines()[-2].split()][4:]


def beside_pfl(rounds: int) -> None:
    """Print what SCAFFOLD costs as a ratio to FedAvg, here and there, and our clients a second to pfl's."""
    print("\nFlower has no SCAFFOLD of its own; its FedAvg stands in the table of `rounds.py`.")
    if not os.environ.get("PFL_PYTHON"):
        print("pfl's SCAFFOLD: not measured, since PFL_PYTHON names no interpreter that has pfl.")
        return
    print("\n| SCAFFOLD | ours to our FedAvg | pfl's to its FedAvg | ours to pfl's |\n|---|---|---|---|")
    for workload in MODELS:
        turns: dict[tuple[str, str], list[float]] = {}
        for _ in range(TURNS):
            found = seconds(workload, ["fedavg", "scaffold"], rounds)
            for name in found:
                turns.setdefault(("ours", name), []).append(found[name])
                turns.setdefault(("pfl", name), []).extend(of_pfl(workload, name))
        took = {who: statistics.median(times) for who, times in turns.items()}
        ratios = (
            took["ours", "fedavg"] / took["ours", "scaffold"],
            took["pfl", "fedavg"] / took["pfl", "scaffold"],
            took["pfl", "scaffold"] / took["ours", "scaffold"],
        )
        print(f"| {workload} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |", flush=True)


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
        print(f"| {workload} | " + " | ".join(cells) + " |", flush=True)
    beside_pfl(rounds)


if __name__ == "__main__":
    main()
