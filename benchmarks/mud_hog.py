"""MUD-HoG beside six baselines in the cells of its paper's experiments 3 and 4 (arXiv 2208.10273).

Usage: mud_hog.py FOLDER [--data mnist] [--model NAME] [--cells exp4-5 exp3-5 ...] [--seeds 1 2] [--rounds 12]
[--defenses general mean ...] [--table]. Runs what is not there yet, takes up what was stopped, and prints a
table; with --table it only prints. With --model, a network other than the paper's. ``mud_hog`` is the preset
``robust``, ``general`` the preset of that name.
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

import gauntlet
from gauntlet.sims.results import load_run
from gauntlet.sims.run import resume
from gauntlet.sims.scenario import Scenario, make_scenario

SIZES = {0: (1, 1, 1, 3), 3: (4, 4, 4, 6), 5: (4, 5, 6, 8)}  # unreliable, sign flips, noise, label flips
BASELINES: dict[str, dict[str, Any]] = {
    "mean": {"weighting": "uniform"},
    "median": {"even": "lower"},
    "geometric_median": {"preset": "mudhog_repo"},
    "krum": {"preset": "mudhog_repo", "num_byzantine": 0},  # the preset has its own
    "multi_krum": {"preset": "mudhog_repo", "num_byzantine": 0},
    "foolsgold": {"history": False, "normalise": True},
}
DEFENSES = ("mud_hog", "general", *BASELINES)
KINDS = ("sign_flip", "additive_noise", "label_flip", "multi_label_flip")


def scenario_of(data: str, cell: str, defense: str, seed: int, rounds: int, model: str | None) -> Scenario:
    """Return one run: a cell is ``exp3-J`` or ``exp4-J``, J = 0, 3 or 5 as in the paper."""
    values = gauntlet.load_scenario(f"mud-hog-{data}").values()
    values["model"] = model or values["model"]
    experiment, _, j = cell.partition("-")
    for attack, size in zip(values["attacks"], SIZES[int(j)], strict=True):
        attack["clients"] = attack["clients"][:size]
    if experiment == "exp3":
        values["attacks"][3]["name"] = "label_flip"
    if defense == "general":
        values["defense"] = {"name": "mud_hog", "preset": "general"}
    elif defense != "mud_hog":
        values["defense"] = {"name": defense, **BASELINES[defense]}
    values |= {"seed": seed, "rounds": rounds, "runtime": {"pool": "serial"}}
    values["name"] = f"{values['name']}-{cell}-{defense}"
    return make_scenario(values)


def run(folder: Path, scenario: Scenario) -> None:
    """Run a scenario, or what is left of it."""
    if (folder / "manifest.json").exists():
        resume(folder)
    else:
        gauntlet.simulate(scenario, folder)


def complete(folder: Path) -> bool:
    """Return whether a folder holds a run of which nothing is left."""
    return (folder / "manifest.json").exists() and load_run(folder).manifest["status"] == "complete"


def facts(folder: Path) -> dict[str, float]:
    """Return a run's accuracy, the mean of its last three rounds, and who was found when."""
    found = load_run(folder)
    row = {"accuracy": 100 * float(found.rounds["accuracy"].tail(3).mean())}
    seen = found.clients.assign(
        flagged=found.clients["flag"].notna() & (found.clients["flag"] != "unreliable")
    )
    last = seen[seen["round"] == seen["round"].max()]
    row |= {kind: float(of["flagged"].mean()) for kind in KINDS if len(of := last[last["truth"] == kind])}
    honest = seen["truth"].isin(["honest", "unreliable"])
    first = seen[seen["flagged"] & ~honest]["round"].min()
    if first == first:  # somebody was flagged
        later = seen[seen["round"] >= first + 3]
        plain = later[(later["round"] == first + 3) & later["truth"].isin(["sign_flip", "additive_noise"])]
        row |= {"first flag": int(first) + 1, "sign and noise 3 rounds later": float(plain["flagged"].mean())}
        row["precision from then"] = float((~honest[later[later["flagged"]].index]).mean())
    return row


def table(root: Path, data: str, cells: list[str], seeds: list[int]) -> pd.DataFrame:
    """Return a row a cell and defense, of the runs that are complete."""
    rows = []
    for cell in cells:
        for defense in DEFENSES:
            folders = [root / f"{data}-{cell}-{defense}-{seed}" for seed in seeds]
            runs = [facts(f) for f in folders if complete(f)]
            if not runs:
                continue
            means = pd.DataFrame(runs).mean()
            spread = [r["accuracy"] for r in runs]
            row = {"cell": cell, "defense": defense, "seeds": len(runs), **means.round(2).to_dict()}
            rows.append(row | {"least": round(min(spread), 2), "most": round(max(spread), 2)})
    return pd.DataFrame(rows)


def main() -> None:
    """Run, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", default="mnist", choices=["mnist", "fashion"])
    parser.add_argument(
        "--cells", nargs="+", default=["exp4-5", "exp3-5", "exp4-3", "exp3-3", "exp4-0", "exp3-0"]
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--defenses", nargs="+", default=list(DEFENSES), choices=DEFENSES)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--model")
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    data = f"{asked.data}-{asked.model}" if asked.model else asked.data
    for seed in () if asked.table else asked.seeds:
        for cell in asked.cells:
            for defense in asked.defenses:
                folder = asked.folder / f"{data}-{cell}-{defense}-{seed}"
                run(folder, scenario_of(asked.data, cell, defense, seed, asked.rounds, asked.model))
    found = table(asked.folder, data, asked.cells, asked.seeds).astype(object)
    found = found.where(found.notna(), "").map(str)
    for line in (found.columns, ["---"] * len(found.columns), *found.itertuples(index=False)):
        print("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    main()
