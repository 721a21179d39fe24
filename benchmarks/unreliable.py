"""Clients with poor data on MNIST: who flags them, spectral_screen or mud_hog.

Usage: unreliable.py [--seeds S ...] [--thresholds T ...] [--partitions P ...] [--kinds K ...]
[--defenses D ...]. 40 clients take 20 steps of 32 of their examples in each of eight rounds; eight of them
blur every image (a Gaussian of 2 pixels), have half of their labels drawn at random, or have noise of up to
1.4 on every pixel, or four do each. Printed of the last four rounds: the share of flags ``unreliable`` that
are right (precision), the share of poor clients so flagged (recall), each as mean (least) over seeds, such
flags on others, and flags of malice on anybody. A run takes three CPU seconds. The table stands in
docs/robustness-certified.md.
"""

import argparse
import tempfile
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import torch

import gauntlet
from gauntlet.sims.scenario import make_scenario

WHOLE = {"name": "unreliable", "keep": 1.0, "spoil": 1.0}
BLUR = WHOLE | {"kernel_size": 7, "blur_std": 2.0}
NOISE = WHOLE | {"kernel_size": 1, "max_noise_std": 1.4}
LABELS = {"name": f"{Path(__file__).resolve()}:HalfLabels"}
KINDS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "blur": [BLUR | {"clients": list(range(8))}],
    "labels": [LABELS | {"clients": list(range(8))}],
    "pixels": [NOISE | {"clients": list(range(8))}],
    "mixed": [
        kind | {"clients": list(range(4 * i, 4 * i + 4))} for i, kind in enumerate((BLUR, LABELS, NOISE))
    ],
}
PARTITIONS: dict[str, Any] = {"iid": "iid", "dirichlet": {"name": "dirichlet", "alpha": 0.5}}
DEFENSES: dict[str, dict[str, Any]] = {
    "spectral_screen": {"name": "spectral_screen", "unreliable_weight": 1.0},
    "mud_hog robust": {"name": "mud_hog", "preset": "robust"},
    "mud_hog general": {"name": "mud_hog", "preset": "general"},
}


@dataclass(frozen=True)
class HalfLabels:
    """Honest, with half of the labels drawn anew at random."""

    honest: ClassVar[bool] = True

    def poison(self, x: Any, y: Any, generator: Any) -> Any:
        """Return the examples with other labels."""
        hit = torch.from_numpy(generator.random(len(y)) < 0.5)
        drawn = torch.from_numpy(generator.integers(0, 10, len(y)))
        return x, torch.where(hit, drawn, y)


def run(defense: dict[str, Any], attacks: list[Any], partition: Any, seed: int) -> Any:
    """Return the table of clients, and the accuracy."""
    scenario = make_scenario(
        {
            "name": "unreliable",
            "seed": seed,
            "rounds": 8,
            "num_clients": 40,
            "data": "mnist",
            "partition": partition,
            "model": {"name": "mlp", "hidden": [64, 32]},
            "training": {"local_steps": 20, "batch_size": 32, "lr": 0.1},
            "attacks": attacks,
            "defense": defense,
            "evaluation": {"every": 8},
            "checkpoint": {"every": 0},
            "runtime": {"pool": "serial"},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        found = gauntlet.simulate(scenario, Path(folder) / "run")
        return found.clients, float(found.rounds["accuracy"].iloc[-1])


def told(clients: Any, poor: set[int], threshold: float | None) -> list[float]:
    """Return precision and recall of ``unreliable`` in the last four rounds, wrong flags, and malice's.

    With a threshold, who scores more is counted as flagged: the flags of a rule that weighs all alike.
    """
    late = clients[clients["round"] >= 4]
    hit = late["flag"] == "unreliable" if threshold is None else late["score"] > threshold
    named = late[hit]
    right = int(named["client_id"].isin(poor).sum())
    malice = 0 if threshold else int((late["flag"].notna() & (late["flag"] != "unreliable")).sum())
    precision = right / len(named) if len(named) else float("nan")
    return [precision, right / (4 * len(poor)) if poor else float("nan"), len(named) - right, malice]


def main() -> None:
    """Run, and print a Markdown table."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    asked.add_argument("--thresholds", nargs="*", type=float, default=[3.0])
    asked.add_argument("--partitions", nargs="+", choices=list(PARTITIONS), default=list(PARTITIONS))
    asked.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    asked.add_argument("--defenses", nargs="+", choices=list(DEFENSES), default=list(DEFENSES))
    given = asked.parse_args()
    print("| partition | poor data | defense | accuracy | precision | recall | wrong | of malice |")
    print("|---|---|---|---|---|---|---|---|")
    for place, kind, name in product(given.partitions, given.kinds, given.defenses):
        attacks = KINDS[kind]
        poor = {client for attack in attacks for client in attack["clients"]}
        runs = [run(DEFENSES[name], attacks, PARTITIONS[place], seed) for seed in given.seeds]
        for threshold in given.thresholds if name == "spectral_screen" else [None]:
            rows = [[accuracy, *told(clients, poor, threshold)] for clients, accuracy in runs]
            columns = torch.tensor(rows, dtype=torch.float64).T
            mean, least = columns.nanmean(dim=1), columns.nan_to_num(9.0).amin(dim=1)
            of = (160 - 4 * len(poor)) * len(rows)
            word = f"{name} {threshold or ''}"
            print(
                f"| {place} | {kind} | {word} | {100 * mean[0]:.1f} ({100 * least[0]:.1f}) | "
                f"{mean[1]:.2f} ({least[1]:.2f}) | {mean[2]:.2f} ({least[2]:.2f}) | "
                f"{int(columns[3].sum())} of {of} | {int(columns[4].sum())} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
