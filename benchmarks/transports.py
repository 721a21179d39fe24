"""Rounds over sockets and through Ray's object store, on one machine. Run it on an idle one.

Usage: transports.py [TURNS]. The workloads of ``rounds.py`` on two Ray workers, as sums (the mean) and with
rows (the median). Both transports run the same rounds in turn, in one process with two workers each. Printed
are medians over the turns of the object store's time divided by that of sockets, with the least and the
largest: wall-clock time of the rounds, and the processor time of the driver, the workers and Ray's own
processes together.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from asked import words
from gauntlet_rounds import scenario_of
from workloads import NAMES

DEFENSES = {"sums": "mean", "rows": "median"}
TRANSPORTS = ("socket", "ray")
ROUNDS = {"logreg": 30, "mlp": 8, "mcnn": 3}  # of each transport in a turn
TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds() -> float:
    """Return what this process's session has used: the driver, Ray, and all workers, which are alive."""
    used, session = 0, os.getsid(0)
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            used += int(fields[11]) + int(fields[12])
    return used / TICKS


def ratios(workload: str, defense: str, turns: int) -> list[tuple[float, float]]:
    """Return each turn's ratios, of wall-clock and of processor time, once all workers are there."""
    from gauntlet.clients.pools.ray import start_ray
    from gauntlet.server.simulation import prepare

    start_ray(num_workers=4)
    rounds = ROUNDS[workload]
    scenario = scenario_of(workload, 10**6, defense=defense, compile="off")
    simulation = prepare(scenario.run_spec())
    pools = {t: simulation.ray_pool(2, transport=t) for t in TRANSPORTS}
    runs = {t: simulation.steps(pool) for t, pool in pools.items()}
    for transport, pool in pools.items():
        next(runs[transport])
        while not all(connection.connected for connection in pool._connections):
            next(runs[transport])
    found = []
    for _ in range(turns):
        taken = dict.fromkeys(TRANSPORTS, (0.0, 0.0))
        for transport in TRANSPORTS * rounds:
            begun = time.perf_counter(), processor_seconds()
            next(runs[transport])
            spent = time.perf_counter() - begun[0], processor_seconds() - begun[1]
            taken[transport] = taken[transport][0] + spent[0], taken[transport][1] + spent[1]
        socket, ray = (taken[t] for t in TRANSPORTS)
        found.append((ray[0] / socket[0], ray[1] / socket[1]))
    for pool in pools.values():
        pool.close()
    return found


def in_a_session(workload: str, defense: str, turns: int) -> list[tuple[float, ...]]:
    """Return what ``ratios`` returns, from a process and a session of its own."""
    command = [sys.executable, __file__, "--one", workload, defense, str(turns)]
    told = subprocess.run(command, capture_output=True, text=True, check=True, start_new_session=True)
    words = [line.split() for line in told.stdout.splitlines() if line.startswith("ratio ")]
    return [tuple(map(float, numbers)) for _, *numbers in words]


def main(turns: int) -> None:
    """Measure, and print a Markdown table."""
    print("| object store over sockets | wall clock | processor |\n|---|---|---|")
    for workload in NAMES:
        for kind, defense in DEFENSES.items():
            cells = []
            for column in zip(*in_a_session(workload, defense, turns), strict=True):
                middle = statistics.median(column)
                cells.append(f"{middle:.2f} ({min(column):.2f} to {max(column):.2f})")
            print(f"| {workload}, {kind} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        for pair in ratios(sys.argv[2], sys.argv[3], int(sys.argv[4])):
            print("ratio", *pair)
    else:
        main(words(__doc__, turns=7).turns)
