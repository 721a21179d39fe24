"""Tables of docs/robustness-certified.md: what detectors and certificates do to backdoors on digits.

Usage: certified.py [--rule RULE] [--seeds N ...] [--defense JSON ...] [--attack WORDS ...]. Each cell is runs
of ten rounds with 20 clients, of whom so many lie: accuracy after the last round as mean (least), the share
of triggered examples taken for the attacker's class as mean (most), and the flags of all rounds: liars
flagged, of so many, and honest ones. A run takes about a CPU second.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

import gauntlet
from gauntlet.sims.scenario import make_scenario

CORNERS = {"name": "pixel_backdoor", "pixels": [[0, 0], [0, 7], [7, 7]]}
ROWS = {"name": "pixel_backdoor"}
DIRICHLET = {"name": "dirichlet", "alpha": 0.5}
TRAINING = {"local_epochs": 4, "batch_size": 8, "lr": 0.1, "momentum": 0.5}
PARTITIONS: dict[str, Any] = {"iid": "iid", "dirichlet .5": DIRICHLET}
KRUM = {"name": "multi_krum", "num_byzantine": 8}
PLAIN: list[Any] = ["mean", "median", KRUM]

VOTE = {"name": "crfl", "clip_norm": 15.0, "noise_std": 0.05, "update_clip_norm": 0.5, "num_byzantine": 1}
ONCE = {
    **CORNERS,
    "count": 1,
    "start_round": 9,
    "update": {"name": "model_replacement", "scale": 20.0},
}

Case = tuple[str, list[dict[str, Any]]]
LINEAR = {"crfl"}  # of these rules the model is logistic regression
CASES: dict[str, tuple[list[Case], list[Any]]] = {
    "backdoor_indicator": (
        [
            ("none", []),
            ("three corners, 9 of 20", [{**CORNERS, "count": 9}]),
            ("two rows, 9 of 20", [{**ROWS, "count": 9}]),
        ],
        [*PLAIN, "backdoor_indicator"],
    ),
    "crfl": (
        [
            ("none", []),
            ("replaced in the last round, 1 of 20", [ONCE]),
            ("three corners, 5 of 20", [{**CORNERS, "count": 5}]),
        ],
        ["mean", "crfl", VOTE],
    ),
    "filters": (
        [
            ("none", []),
            ("sign_flip, 4 of 20", [{"name": "sign_flip", "count": 4}]),
            ("three corners, 9 of 20", [{**CORNERS, "count": 9}]),
        ],
        ["mean", {"name": "smea", "num_byzantine": 4}, "clustering", "residual"],
    ),
    "fedguard": (
        [
            ("none", []),
            ("sign_flip, 10 of 20", [{"name": "sign_flip", "count": 10}]),
            ("three corners, 5 of 20", [{**CORNERS, "count": 5}]),
        ],
        ["mean", "median", "fedguard"],
    ),
}


def scenario(defense: Any, attacks: list[Any], partition: Any, seed: int, linear: bool) -> Any:
    """Return a run of ten rounds on digits, whose server has 100 examples."""
    return make_scenario(
        {
            "name": "certified",
            "seed": seed,
            "rounds": 10,
            "num_clients": 20,
            "data": "digits",
            "partition": partition,
            "model": "logistic_regression" if linear else {"name": "mlp", "hidden": [64]},
            "training": TRAINING,
            "root_examples": 100,
            "attacks": attacks,
            "defense": defense,
            "evaluation": {"every": 10},
            "checkpoint": {"every": 0},
            "runtime": {"pool": "serial"},
        }
    )


def row_of(run: Any) -> dict[str, float]:
    """Return what a run's cell is made of."""
    last, rounds = run.rounds.iloc[-1], run.rounds
    certified = {}
    if run.certificates is not None:
        table = run.certificates.set_index("name")
        certified["radius"] = table.loc["radius", "median"]
        if "certified" in table.index:
            certified |= {"reach": table.loc["reach", "mean"], "certified": table.loc["certified", "right"]}
    return {
        **certified,
        "accuracy": last["accuracy"],
        "success": last.get("attack_success_rate", float("nan")),
        "caught": rounds["true_positives"].sum(),
        "liars": rounds["true_positives"].sum() + rounds["false_negatives"].sum(),
        "honest": rounds["false_positives"].sum(),
        "honests": rounds["false_positives"].sum() + rounds["true_negatives"].sum(),
    }


def cell(found: list[dict[str, float]]) -> str:
    """Return a row's numbers over its seeds."""
    frame = pd.DataFrame(found)
    total = frame.sum()
    votes = [f"{name} {frame[name].mean():.4f}" for name in ("radius", "reach", "certified") if name in frame]
    return ", ".join(votes) + (
        f" | {100 * frame.accuracy.mean():.1f} ({100 * frame.accuracy.min():.1f}) | "
        f"{100 * frame.success.mean():.1f} ({100 * frame.success.max():.1f}) | "
        f"{total.caught:.0f} of {total.liars:.0f}, {total.honest:.0f} of {total.honests:.0f}"
    )


def main() -> None:
    """Run, and print a Markdown table."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rule", choices=list(CASES), default="backdoor_indicator")
    asked.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    asked.add_argument(
        "--defense", nargs="*", type=json.loads, default=None, help="in place of the rule's own"
    )
    asked.add_argument("--attack", nargs="*", default=None, help="of the cases, those that begin so")
    given = asked.parse_args()
    cases, defenses = CASES[given.rule]
    cases = [case for case in cases if given.attack is None or case[0].startswith(tuple(given.attack))]
    print("| partition | attack | defense | certificate | accuracy, % | success, % | liars, honest flagged |")
    print("|---|---|---|---|---|---|---|")
    for place, partition in PARTITIONS.items():
        for name, attacks in cases:
            for defense in given.defense or defenses:
                found = []
                for seed in given.seeds:
                    with tempfile.TemporaryDirectory() as folder:
                        what = scenario(defense, attacks, partition, seed, given.rule in LINEAR)
                        run = gauntlet.simulate(what, Path(folder) / "run")
                        found.append(row_of(run))
                word = defense if isinstance(defense, str) else json.dumps(defense)
                print(f"| {place} | {name} | {word} | {cell(found)} |", flush=True)


if __name__ == "__main__":
    main()
