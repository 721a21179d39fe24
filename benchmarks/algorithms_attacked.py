"""How algorithms and schedules stand attackers: accuracy of SCAFFOLD, FedBuff, FedSkel, FedAvg on digits.

A fifth of 25 clients attacks; labels are spread by Dirichlet(0.5). 15 clients begin a round, or are at work
at any time (a buffer of 15), on measured delays; as many messages count in each case. Seeds change data,
attackers and training. FedSkel's clients keep a fifth of their channels; where the server counts who sent a
row it wants the plain mean. Results go to ``--out``, one cell each, and are kept from call to call; prints
Markdown.

    python benchmarks/algorithms_attacked.py [--seeds 0 1 2] [--out attacked.json] [--algorithms NAME ...]
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

from gauntlet.server.simulation import prepare
from gauntlet.sims.scenario import make_scenario

COHORT, CLIENTS, ROUNDS, ATTACKERS = 15, 25, 60, 5
UNIFORM = {"name": "mean", "weighting": "uniform"}
DEFENSES: dict[str, dict[str, Any]] = {
    "mean": {"defense": UNIFORM},
    "trimmed_mean": {"defense": {"name": "trimmed_mean", "num_byzantine": 4}},
    "multi_krum": {"defense": {"name": "multi_krum", "num_byzantine": 4}},
    "median": {"defense": "median"},
}
BUFFERED = {"name": "buffered", "buffer_size": COHORT, "concurrency": COHORT}
SKELETON = {"name": "fedskel", "keep_ratios": [0.2]}
WAYS: dict[str, dict[str, Any]] = {
    "SCAFFOLD": {"algorithm": "scaffold"},
    "FedBuff": {"sampler": "full", "schedule": BUFFERED},
    "FedSkel": {"algorithm": SKELETON, "codec": "zero_rows"},
    "FedSkel, whole models": {"algorithm": {**SKELETON, "masked": False}},
    "FedAvg": {},
}
ATTACKS: dict[str, Any] = {"none": None, "sign_flip": {"name": "sign_flip"}, "alie": {"name": "alie"}}


def measure(way: str, defense: str, attack: str, seed: int) -> dict[str, float]:
    """Return the accuracy after the last round, the mean of the last ten, and what it took."""
    roles = [] if ATTACKS[attack] is None else [{**ATTACKS[attack], "count": ATTACKERS}]
    scenario = make_scenario(
        {
            "name": "attacked",
            "seed": seed,
            "rounds": ROUNDS,
            "num_clients": CLIENTS,
            "data": "digits",
            "partition": {"name": "dirichlet", "alpha": 0.5},
            "model": {"name": "mlp", "hidden": [32]},
            "sampler": {"name": "fixed_size", "cohort_size": COHORT},
            "training": {"local_epochs": 2, "batch_size": 16, "lr": 0.1},
            "network": "trace",
            "attacks": roles,
            "runtime": {"pool": "serial"},
            **WAYS[way],
            **DEFENSES[defense],
        }
    )
    begin = process_time()
    run = prepare(replace(scenario.run_spec(), rows=True))
    steps = list(run.steps(run.serial_pool()))
    scores = [step.score.accuracy for step in steps if step.score]
    return {
        "accuracy": sum(scores[-10:]) / 10,
        "seconds": steps[-1].state.clock,
        "cpu_seconds": process_time() - begin,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("attacked.json"))
    parser.add_argument("--algorithms", nargs="+", default=list(WAYS), choices=WAYS, metavar="NAME")
    options = parser.parse_args()
    found = json.loads(options.out.read_text()) if options.out.is_file() else {}
    print("| algorithm | defense | " + " | ".join(ATTACKS) + " |")
    print("|---|---|" + "---|" * len(ATTACKS))
    for way in options.algorithms:
        for defense in ["mean"] if way == "FedSkel" else DEFENSES:
            cells = []
            for attack in ATTACKS:
                keys = [f"{way}/{defense}/{attack}/{seed}" for seed in options.seeds]
                for key, seed in zip(keys, options.seeds, strict=True):
                    if key not in found:
                        found[key] = measure(way, defense, attack, seed)
                        options.out.write_text(json.dumps(found, indent=1))
                scores = sorted(found[key]["accuracy"] for key in keys)
                cells.append(f"{sum(scores) / len(scores):.2f} ({scores[0]:.2f} to {scores[-1]:.2f})")
            print(f"| {way} | {defense} | " + " | ".join(cells) + " |", flush=True)
    print(f"\n{sum(c['cpu_seconds'] for c in found.values()):.0f} CPU seconds of all that is kept")


if __name__ == "__main__":
    main()
