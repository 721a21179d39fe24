"""What clients' own backward passes cost and give: accuracy and bytes of runs that differ in one thing.

Usage: local_rules.py CASE [SEED ...]. CASE is one of those below; seeds are 0, 1, 2 unless given. A cell is
each seed's value in the last round, and in brackets their mean. Bytes are those of all rounds over those of
the first row. Options are those below; the step size is the best of those named, by seed 9 (``--lr`` of the
code), which is not among the seeds.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from asked import words
from torch import nn

UNIFORM = {"name": "mean", "weighting": "uniform"}


def small_cnn(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Return two 5 x 5 convolutions of 10 and 20 channels with pooling, and a hidden layer of 50."""
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 10, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(10, 20, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(320, 50),
        nn.ReLU(),
        nn.Linear(50, num_classes),
    )


def fedskel(ratio: float) -> dict[str, Any]:
    """Return FedSkel's changes to a scenario."""
    return {"algorithm": {"name": "fedskel", "keep_ratios": [ratio]}, "codec": "zero_rows"}


CASES: dict[str, tuple[dict[str, Any], dict[str, dict[str, Any]]]] = {
    "fedskel": (
        {
            "rounds": 24,
            "num_clients": 10,
            "data": "mnist",
            "partition": {"name": "dirichlet", "alpha": 0.5},
            "model": small_cnn,
            "training": {"batch_size": 32, "lr": 0.1, "local_steps": 10},
            "defense": UNIFORM,
        },
        {f"r = {ratio}": fedskel(ratio) for ratio in (1.0, 0.5, 0.2, 0.1)},
    ),
}


def measured(case: str, changes: dict[str, Any], seed: int) -> tuple[float, float]:
    """Return the last round's accuracy, and the bytes that clients sent in all."""
    import gauntlet

    base = {"name": case, "seed": seed, "evaluation": {"every": 100}, "runtime": {"pool": "serial"}}
    with tempfile.TemporaryDirectory() as folder:
        run = gauntlet.simulate(gauntlet.Scenario(**base | CASES[case][0] | changes), Path(folder) / "run")
        return float(run.rounds.iloc[-1]["accuracy"]), float(run.rounds["bytes_up"].sum())


def main() -> None:
    """Measure, and print a Markdown table."""
    given = words(__doc__, case=str, seeds=[])
    if given.case not in CASES:
        sys.exit(f"CASE must be one of {', '.join(CASES)}, got '{given.case}'")
    seeds = [int(seed) for seed in given.seeds] or [0, 1, 2]
    print(f"| {given.case} | accuracy, seeds {', '.join(map(str, seeds))} | bytes up |\n|---|---|---|")
    whole = 0.0
    for row, changes in CASES[given.case][1].items():
        found = [measured(given.case, changes, seed) for seed in seeds]
        sent, accuracies = sum(one[1] for one in found), [one[0] for one in found]
        whole = whole or sent
        mean = sum(accuracies) / len(seeds)
        each = ", ".join(f"{a:.3f}" for a in accuracies)
        print(f"| {row} | {each} ({mean:.3f}) | {sent / whole:.3f} |", flush=True)


if __name__ == "__main__":
    main()
