"""MUD-HoG and four baselines in the settings of mud_hog_settings.toml, on digits.

Usage: mud_hog_study.py FOLDER [--half A] [--settings mixture ...] [--defenses general mean ...] [--seeds 0 1]
[--table]. Runs what is not there yet, one file a run, and prints a table; with --table it only prints. Runs
of MUD-HoG belong to the code that made them: delete FOLDER/general-*.json after a change of the defense.
"""

import argparse
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

import gauntlet
from gauntlet.server.simulation import Simulation, prepare
from gauntlet.sims.detection import totals
from gauntlet.sims.scenario import Scenario, make_scenario

SETTINGS: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("mud_hog_settings.toml").read_text(encoding="utf-8")
)
ROUNDS = 16
SEEDS = (0, 1, 2, 3, 4)
HOGS = ("general", "robust")
BASELINES = ("mean", "median", "trimmed_mean", "multi_krum")
LAST = 3
"""Rounds at the end over which accuracy and success are averaged."""


def scenario_of(setting: str, defense: str, seed: int) -> Scenario:
    """Return one run of the study. The baselines are told to expect a quarter of the cohort."""
    values = gauntlet.load_scenario("mud-hog-digits").values()
    asked = {k: v for k, v in SETTINGS[setting].items() if k not in ("half", "description")}
    asked.setdefault("partition", values["partition"] | {"partition_seed": seed + 1})
    values |= {"rounds": ROUNDS, "name": f"{setting}-{defense}", "seed": seed} | asked
    values |= {"runtime": {"pool": "serial"}, "defense": defense_of(defense, values)}
    return make_scenario(values)


def defense_of(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the section of a defense for a scenario's cohorts."""
    sampler = values["sampler"]
    size = sampler.get("cohort_size", values["num_clients"])
    byzantine = int(size * sampler.get("sample_rate", 1.0)) // 4
    sections: dict[str, dict[str, Any]] = {
        "mean": {"name": "mean", "weighting": "uniform"},
        "median": {"name": "median"},
        "trimmed_mean": {"name": "trimmed_mean", "beta": 0.25},
        "multi_krum": {"name": "multi_krum", "num_byzantine": byzantine, "on_infeasible": "median"},
    }
    return sections.get(name) or {"name": "mud_hog", "preset": name}


def rounds_of(simulation: Simulation) -> Iterator[dict[str, Any]]:
    """Run, and yield of every round what the tables need."""
    pool = simulation.serial_pool()
    for step in simulation.steps(pool):
        outcome, score, plan = step.outcome, step.score, simulation.plan
        assert score is not None  # every round is evaluated
        kinds, bad = plan.kinds(outcome.round), plan.malicious(outcome.round)
        verdict = outcome.verdict
        weights = verdict.weights.tolist() if verdict.weights is not None else None
        goals = [goal.success / goal.examples for goal in score.goals if goal.examples]
        yield {
            "accuracy": score.accuracy,
            "success": max(goals, default=None),
            "seen": outcome.received.client_ids.tolist(),
            "bad": {str(i): kinds[i] for i in sorted(bad)},
            "poor": sorted(i for i, kind in kinds.items() if kind == "unreliable"),
            "flags": {str(i): flag for i, flag in sorted(verdict.flags.items())},
            "weights": weights,
            "scores": {str(i): round(s, 4) for i, s in sorted((verdict.scores or {}).items())},
            "seconds": outcome.aggregation_seconds,
        }


def run(path: Path, scenario: Scenario) -> None:
    """Run a scenario and write its rounds."""
    rounds = list(rounds_of(prepare(scenario.run_spec())))
    part = path.with_suffix(".part")
    part.write_text(json.dumps(rounds), encoding="utf-8")
    part.replace(path)


def clients_of(rounds: list[dict[str, Any]]) -> pd.DataFrame:
    """Return a run's clients as the functions of detection read them."""
    rows = []
    for t, one in enumerate(rounds):
        for i in map(str, one["seen"]):
            truth = one["bad"].get(i) or ("unreliable" if int(i) in one["poor"] else "honest")
            rows.append((t, int(i), truth, one["flags"].get(i), one["scores"].get(i), "ok"))
    return pd.DataFrame(rows, columns=["round", "client_id", "truth", "flag", "score", "status"])


def last(rounds: list[dict[str, Any]], name: str) -> float:
    """Return a number in per cent, the mean of the last rounds; NaN where there is none."""
    values = [one[name] for one in rounds[-LAST:]]
    return float("nan") if None in values else 100 * sum(values) / len(values)


def read(folder: Path, setting: str, defense: str, seeds: list[int]) -> list[list[dict[str, Any]]]:
    """Return the runs that are there, by seed."""
    paths = [folder / f"{defense}-{setting}-{seed}.json" for seed in seeds]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]


def table(folder: Path, chosen: list[str], seeds: list[int], hog: str) -> pd.DataFrame:
    """Return a row a setting: what MUD-HoG found, and its accuracy beside the baselines', same seeds."""
    rows = []
    for setting in chosen:
        done = [seed for seed in seeds if (folder / f"{hog}-{setting}-{seed}.json").exists()]
        runs = read(folder, setting, hog, done)
        if not runs:
            continue
        found = pd.DataFrame([totals(clients_of(run)) for run in runs])
        accuracy = [last(run, "accuracy") for run in runs]
        row: dict[str, Any] = {"half": SETTINGS[setting]["half"], "setting": setting, "seeds": len(runs)}
        row |= {"wrong, mean": found["wrongly"].mean(), "most": found["wrongly"].max()}
        row |= {"attackers": found["attackers"].mean(), "recall": found["recall"].mean()}
        row |= {"delay": found["delay"].mean(), "F1": found["f1"].mean(), "AUC": found["auc"].mean()}
        row |= {"success": sum(last(run, "success") for run in runs) / len(runs)}
        row |= {"accuracy": sum(accuracy) / len(runs), "spread": (max(accuracy) - min(accuracy)) / 2}
        for baseline in BASELINES:
            theirs = read(folder, setting, baseline, done)
            same = len(theirs) == len(runs)
            row[baseline] = sum(last(run, "accuracy") for run in theirs) / len(runs) if same else float("nan")
        rows.append(row)
    return pd.DataFrame(rows)


def print_table(found: pd.DataFrame) -> None:
    """Print a table in Markdown."""
    shown = found.round(2).astype(object)
    shown = shown.where(shown.notna(), "").map(str)
    for line in (shown.columns, ["---"] * len(shown.columns), *shown.itertuples(index=False)):
        print("| " + " | ".join(line) + " |")


def main() -> None:
    """Run what is missing, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--half", choices=["A", "B", "adaptive", "unseen"])
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS))
    parser.add_argument("--defenses", nargs="+", default=["general", *BASELINES])
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--table", action="store_true")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    chosen = asked.settings or [n for n, s in SETTINGS.items() if asked.half in (None, s["half"])]
    for seed in () if asked.table else asked.seeds:
        for defense in asked.defenses:
            for setting in chosen:
                path = asked.folder / f"{defense}-{setting}-{seed}.json"
                if not path.exists():
                    run(path, scenario_of(setting, defense, seed))
    hog = next((name for name in asked.defenses if name in HOGS), "general")
    print_table(table(asked.folder, chosen, asked.seeds, hog))


if __name__ == "__main__":
    main()
