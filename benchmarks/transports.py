"""Rounds over sockets and through Ray's object store, on one machine. Run it on an idle one.

Usage: transports.py [PAIRS]. The workloads of ``rounds.py`` on two Ray workers, as sums (the mean) and with
rows (the median), over either transport in turn, each run in a process of its own. Printed are medians over
the pairs of the object store's time divided by that of sockets, with the least and the largest: wall-clock
time of the second half of the rounds, and over the same rounds the processor time of the driver, the workers
and Ray's own processes together.
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

from gauntlet_rounds import scenario_of
from workloads import NAMES

DEFENSES = {"sums": "mean", "rows": "median"}
TRANSPORTS = ("socket", "ray")
ROUNDS = {"logreg": 80, "mlp": 20, "mcnn": 8}
TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds() -> float:
    """Return what this process's session has used: the driver, Ray, and its workers, all of them alive."""
    used, session = 0, os.getsid(0)
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            used += int(fields[11]) + int(fields[12])
    return used / TICKS


def measured(workload: str, defense: str, transport: str, rounds: int) -> tuple[float, float]:
    """Return the median wall-clock seconds of a round in the second half, and its mean processor seconds."""
    import gauntlet
    from gauntlet.sims.progress import Silent

    ends: list[float] = []
    used: list[float] = []

    class Watch(Silent):
        def advance(self, *_: Any) -> None:
            ends.append(time.perf_counter())
            if len(ends) in (rounds // 2, rounds):
                used.append(processor_seconds())

    runtime = {"pool": "ray", "num_workers": 2, "transport": transport}
    scenario = scenario_of(workload, rounds, defense=defense, runtime=runtime)
    with tempfile.TemporaryDirectory() as folder:
        gauntlet.simulate(scenario, Path(folder) / "run", Watch())
    seconds = [after - before for before, after in pairwise(ends[rounds // 2 - 1 :])]
    return statistics.median(seconds), (used[1] - used[0]) / (rounds - rounds // 2)


def in_a_session(workload: str, defense: str, transport: str, rounds: int) -> tuple[float, float]:
    """Return what ``measured`` returns, in a process and a session of its own."""
    command = [sys.executable, __file__, "--one", workload, defense, transport, str(rounds)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, start_new_session=True)
    wall, processor = told.stdout.splitlines()[-1].split()
    return float(wall), float(processor)


def main(pairs: int) -> None:
    """Measure in turns, and print a Markdown table."""
    print("| object store over sockets | wall clock | processor |\n|---|---|---|")
    for workload in NAMES:
        for kind, defense in DEFENSES.items():
            ratios: list[tuple[float, float]] = []
            for _ in range(pairs):
                socket, ray = (in_a_session(workload, defense, t, ROUNDS[workload]) for t in TRANSPORTS)
                ratios.append((ray[0] / socket[0], ray[1] / socket[1]))
            cells = []
            for column in zip(*ratios, strict=True):
                middle = statistics.median(column)
                cells.append(f"{middle:.2f} ({min(column):.2f} to {max(column):.2f})")
            print(f"| {workload}, {kind} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(*measured(*sys.argv[2:5], int(sys.argv[5])))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
