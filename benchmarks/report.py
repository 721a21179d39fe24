"""What the page at the end costs a run: CPU seconds with and without it, in turns, in one process each.

Usage: report.py [TURNS]. A run of the quickstart, once of 3 rounds and once of 100, with its eavesdroppers.
"""

import statistics
import subprocess
import sys

CODE = """
import sys, tempfile, time
from pathlib import Path
from gauntlet.sims import execution
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import load_scenario

if sys.argv[1] == "without":
    execution.keep_report = lambda folder, progress: None
changes = {"sweep": {}, "rounds": int(sys.argv[2]), "runtime.pool": "serial"}
scenario = load_scenario("quickstart", changes)
with tempfile.TemporaryDirectory() as folder:
    begun = time.process_time()
    simulate(scenario, Path(folder) / "run")
    print(time.process_time() - begun)
"""


def seconds(kind: str, rounds: int) -> float:
    """Return the CPU seconds of one run in a process of its own."""
    command = [sys.executable, "-c", CODE, kind, str(rounds)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Measure, and print medians."""
    turns = int(sys.argv[1]) if sys.argv[1:] else 5
    for rounds in (3, 100):
        found: dict[str, list[float]] = {"without": [], "with": []}
        for _ in range(turns):
            for kind, times in found.items():
                times.append(seconds(kind, rounds))
        without, with_ = (statistics.median(found[kind]) for kind in ("without", "with"))
        more = statistics.median(b - a for a, b in zip(*found.values(), strict=True))
        print(f"{rounds} rounds: {without:.2f} s without, {with_:.2f} s with the page: {more:.2f} s more")


if __name__ == "__main__":
    main()
