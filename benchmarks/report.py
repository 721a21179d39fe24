"""What the page at the end costs a run: CPU seconds of the first page of a process, beside the run's.

Usage: report.py [TURNS]. A run of the quickstart, once of 3 rounds and once of 100, with its eavesdroppers.
"""

import statistics
import subprocess
import sys

from asked import words

CODE = """
import sys, tempfile, time
from pathlib import Path
from gauntlet.sims import execution
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import load_scenario

def timed(folder, progress, keep=execution.keep_report):
    begun = time.process_time()
    keep(folder, progress)
    print(time.process_time() - begun)

execution.keep_report = timed
scenario = load_scenario("quickstart", {"sweep": {}, "rounds": int(sys.argv[1]), "runtime.pool": "serial"})
with tempfile.TemporaryDirectory() as folder:
    begun = time.process_time()
    simulate(scenario, Path(folder) / "run")
    print(time.process_time() - begun)
"""


def seconds(rounds: int) -> tuple[float, float]:
    """Return the CPU seconds of the page and of the whole run, in a process of its own."""
    command = [sys.executable, "-c", CODE, str(rounds)]
    page, run = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(page), float(run)


def main() -> None:
    """Measure, and print medians."""
    turns = words(__doc__, turns=5).turns
    for rounds in (3, 100):
        pages, runs = zip(*(seconds(rounds) for _ in range(turns)), strict=True)
        page, run = statistics.median(pages), statistics.median(runs)
        print(f"{rounds} rounds: the page takes {page:.2f} of {run:.2f} CPU seconds")


if __name__ == "__main__":
    main()
