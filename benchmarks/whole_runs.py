"""A whole run as somebody who studies attacks runs it, beside FLPoison's. Run it on an idle machine.

Usage: whole_runs.py [ROUNDS]. MNIST, 50 clients of 1,200 pictures, LeNet-5, one local step of 64, ten clients
attack by ALIE, multi-Krum defends, and the test set is scored after every round. Everybody runs in a process
of its own, in turn, twice; a figure is the median of all rounds' wall-clock seconds, everything between two
rounds included and the start left out. MNIST's files must be on this machine (``GAUNTLET_DATA``).

FLPoison runs where ``FLPOISON`` names the folder of its sources (github.com/vio1etus/FLPoison), with the
interpreter that ``FLPOISON_PYTHON`` names. It says nothing of single rounds: of two runs of different length
the difference is taken. One of its local epochs is one batch.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from asked import words

HERE = Path(__file__).parent
OURS = {
    "gauntlet, serial": ("serial", 1),
    "gauntlet, 1 Ray worker": ("ray", 1),
    "gauntlet, 2 Ray workers": ("ray", 2),
}
PEER, SOURCES = "FLPoison", os.environ.get("FLPOISON")
TURNS, SHORT = 2, 2  # SHORT: rounds of the shorter of a peer's runs
SCENARIO: dict[str, Any] = {
    "name": "attack_round",
    "num_clients": 50,
    "data": "mnist",
    "model": f"{HERE}/workloads.py:lenet5",
    "training": {"local_steps": 1, "batch_size": 64, "lr": 0.01, "momentum": 0.9},
    "attacks": [{"name": "alie", "count": 10}],
    "defense": {"name": "multi_krum", "num_byzantine": 10},
}


def ours(pool: str, workers: int, rounds: int) -> list[float]:
    """Return the seconds from the end of each round to the end of the next."""
    import gauntlet
    from gauntlet.sims.progress import Silent
    from gauntlet.sims.scenario import make_scenario

    ends: list[float] = []

    class Watch(Silent):
        def advance(self, *_: Any) -> None:
            ends.append(time.perf_counter())

    watch, runtime = Watch(), {"pool": pool, "num_workers": workers}
    scenario = make_scenario({**SCENARIO, "rounds": rounds, "runtime": runtime})
    with tempfile.TemporaryDirectory() as folder:
        gauntlet.simulate(scenario, Path(folder) / "run", watch)
    return [after - before for before, after in pairwise(ends)]


def in_a_process(system: str, rounds: int) -> list[float]:
    """Return what ``ours`` returns, in a process of its own."""
    pool, workers = OURS[system]
    command = [sys.executable, __file__, "--one", pool, str(workers), str(rounds)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [float(word) for word in printed.splitlines()[-1].split()]


def peers(sources: str, rounds: int) -> list[float]:
    """Return the mean seconds of FLPoison's rounds, start left out, as a list of one."""
    python = os.environ.get("FLPOISON_PYTHON", sys.executable)
    config = [
        "-config",
        "configs/FedSGD_MNIST_config.yaml",
        "-alg",
        "FedAvg",
        "-le",
        "1",
        "-num_clients",
        "50",
    ]
    command = [python, "main.py", *config, "-att", "ALIE", "-num_adv", "10", "-def", "MultiKrum"]
    taken = []
    for epochs in (SHORT, SHORT + rounds):
        begin = time.perf_counter()
        subprocess.run([*command, "-e", str(epochs)], cwd=sources, capture_output=True, check=True)
        taken.append(time.perf_counter() - begin)
    return [(taken[1] - taken[0]) / rounds]


def main(rounds: int) -> None:
    """Measure in turns, and print a Markdown table."""
    found: dict[str, list[float]] = {system: [] for system in OURS}
    for _ in range(TURNS):
        for system in OURS:
            found[system] += in_a_process(system, rounds)
        if SOURCES:
            found.setdefault(PEER, []).extend(peers(SOURCES, rounds))
    serial = statistics.median(found["gauntlet, serial"])
    slowest = statistics.median(found[PEER]) if SOURCES else None
    print("| the user's round | seconds | against serial | against FLPoison |\n|---|---|---|---|")
    for system, seconds in found.items():
        median = statistics.median(seconds)
        beside = "not here" if slowest is None else f"{slowest / median:.3g}"
        print(f"| {system} | {median:.3f} | {serial / median:.3g} | {beside} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(*ours(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
    else:
        main(words(__doc__, rounds=20).rounds)
