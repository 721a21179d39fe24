"""The rounds of this checkout beside those of another, in interleaved pairs. Run it on an idle machine.

Usage: against.py CHECKOUT [--pairs 7] [--only logreg-serial user-serial ...]. CHECKOUT is a folder with
another commit (``git worktree add``). The same scripts drive both, each run in a process of its own; a figure
of a run is the median of its later rounds, evaluations left out, and a ratio is the other's seconds by ours:
above 1, we are faster. ``user-...`` is the whole round of ``whole_runs.py``, with its evaluation.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROUNDS = {"logreg": 120, "mlp": 40, "mcnn": 12}
CASES = {
    **{
        f"{workload}-{pool}": ("gauntlet_rounds.py", workload, str(rounds), pool)
        for pool in ("serial", "ray")
        for workload, rounds in ROUNDS.items()
    },
    "user-serial": ("whole_runs.py", "--one", "serial", "1", "10"),
    "user-ray": ("whole_runs.py", "--one", "ray", "2", "12"),
}


def seconds(checkout: Path, case: str) -> float:
    """Return the median seconds of the later rounds of one run with a checkout's package."""
    script, *options = CASES[case]
    place = {**os.environ, "PYTHONPATH": str(checkout / ".typing")}
    command = [sys.executable, str(HERE / script), *options]
    said = subprocess.run(command, capture_output=True, text=True, check=True, env=place).stdout
    found = [float(word) for word in said.splitlines()[-1].split()]
    return statistics.median(found[len(found) // 2 :])


def main(other: Path, pairs: int, cases: list[str]) -> None:
    """Print a Markdown table of the pairs' ratios."""
    print("| case | median ratio | smallest | largest |\n|---|---|---|---|", flush=True)
    for case in cases:
        ratios = []
        for number in range(pairs):
            order = (other, HERE.parent) if number % 2 else (HERE.parent, other)
            taken = {checkout: seconds(checkout, case) for checkout in order}
            ratios.append(taken[other] / taken[HERE.parent])
        print(
            f"| {case} | {statistics.median(ratios):.3f} | {min(ratios):.3f} | {max(ratios):.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    given = parser.parse_args()
    main(given.checkout.resolve(), given.pairs, given.only)
