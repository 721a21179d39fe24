"""One table: Gauntlet's rounds against plain PyTorch loops, from one sitting. Run it on an idle machine.

Usage: rounds.py. Every system runs in a process of its own, one after the other, twice in turn, so that
a slow minute of the machine meets them all; a figure is the median of the second halves of its runs. pfl runs
where ``PFL_PYTHON`` names an interpreter that has it.
"""

import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from asked import words
from workloads import COHORT, NAMES

HERE = Path(__file__).parent
SYSTEMS: dict[str, tuple[str, ...]] = {
    "gauntlet, serial": ("gauntlet_rounds.py", "serial"),
    "gauntlet, 2 Ray workers": ("gauntlet_rounds.py", "ray"),
    "gauntlet, serial, not stacked": ("gauntlet_rounds.py", "serial", "off"),
    "plain loop": ("raw.py", "1"),
    "plain loop, 2 processes": ("raw.py", "2"),
    "Flower 1.41, its simulation on Ray": ("flower_rounds.py",),
}
PFL = os.environ.get("PFL_PYTHON")
if PFL:
    SYSTEMS["pfl 0.6.0, one process"] = ("pfl_rounds.py",)
TURNS = 2
ROUNDS = {"logreg": 160, "mlp": 40, "mcnn": 16}  # of ours: enough for Ray to have finished starting up
PEERS = 8  # rounds of everybody else


def rounds_of(system: str, workload: str) -> list[float]:
    """Return the seconds of the second half of a system's rounds."""
    script, *options = SYSTEMS[system]
    python = PFL if PFL and script.startswith("pfl") else sys.executable
    rounds = ROUNDS[workload] if script.startswith("gauntlet") else PEERS
    command = [python, str(HERE / script), workload, str(rounds), *options]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE).stdout
    seconds = [float(word) for word in printed.splitlines()[-1].split()]  # some talk before
    print(f"{system}, {workload}: {statistics.median(seconds[len(seconds) // 2 :]):.4f} s", file=sys.stderr)
    return seconds[len(seconds) // 2 :]


def main() -> None:
    """Measure, and print a Markdown table of medians as ratios to the plain loop in two processes."""
    words(__doc__)
    found: dict[tuple[str, str], list[float]] = {}
    for workload in NAMES:
        for system in list(SYSTEMS) * TURNS:
            found.setdefault((system, workload), []).extend(rounds_of(system, workload))
    versions = ", ".join(f"{p} {version(p)}" for p in ("torch", "ray", "numpy"))
    print(f"{platform.machine()}, Python {platform.python_version()}, {versions}\n")
    print("| clients a second, as a ratio to the plain loop in 2 processes | " + " | ".join(NAMES) + " |")
    print("|---|" + "---|" * len(NAMES))
    for system in SYSTEMS:
        cells = []
        for workload in NAMES:
            base = statistics.median(found["plain loop, 2 processes", workload])
            cells.append(f"{base / statistics.median(found[system, workload]):.3g}")
        print(f"| {system} | " + " | ".join(cells) + " |")
    rates = {w: COHORT / statistics.median(found["plain loop, 2 processes", w]) for w in NAMES}
    print("\nThe plain loop in 2 processes: " + ", ".join(f"{w} {r:.0f}/s" for w, r in rates.items()))


if __name__ == "__main__":
    main()
