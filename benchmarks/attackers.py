"""What attacks do to the defenses that they were made against, on digits: accuracy and success, by seed.

Usage: attackers.py [PART ...] [--seeds S ...] [--out FILE]. Parts: signs, history, tailored, triggers,
durability, probing, others; by default all. Twenty clients, a Dirichlet split (alpha 1), a perceptron with
32 hidden units. FILE keeps what was run, so that a run that was stopped goes on. The numbers stand in
docs/robustness-attacks.md.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import gauntlet

Case = dict[str, Any]
RULES: dict[str, Any] = {
    name: {"name": name, "num_byzantine": 4} for name in ("trimmed_mean", "multi_krum", "flanders", "dnc")
}
RULES |= {
    "mud_hog": {"name": "mud_hog", "preset": "general"},
    "fldetector": {"name": "fldetector", "start_round": 10},
}
SIX = {name: RULES[name] | {"num_byzantine": 6} for name in ("trimmed_mean", "multi_krum", "flanders")}
PIXELS = [[0, 0], [0, 1], [0, 7], [1, 0], [7, 0], [7, 7]]
FIXED = {"name": "pixel_backdoor", "pixels": PIXELS, "fraction": 0.5}


def by(count: int, *attacks: Case) -> list[Case]:
    """Return attacks by the same clients each time: the first ``count``."""
    return [{**attack, "clients": list(range(count))} for attack in attacks]


def signs() -> Iterator[tuple[str, Case]]:
    """``alie``'s three signs, six attackers of twenty."""
    shifts: dict[str, Case] = {"paper's z": {}, "z 1.5": {"z": 1.5}}
    for rule in ("mean", "median", "trimmed_mean", "multi_krum"):
        yield f"none, {rule}", {"defense": SIX.get(rule, rule)}
        for shift, options in shifts.items():
            for sign in ("plus", "minus", "against"):
                attack = {"name": "alie", "count": 6, "sign": sign, **options}
                yield f"{shift} {sign}, {rule}", {"defense": SIX.get(rule, rule), "attacks": [attack]}


def history() -> Iterator[tuple[str, Case]]:
    """``poisonedfl`` and two that do not look back, against defenses that remember; six of twenty."""
    attacks: dict[str, list[Case]] = {
        "none": [],
        "sign_flip": [{"name": "sign_flip", "count": 6}],
        "min_max": [{"name": "min_max", "count": 6}],
    }
    for scale in (3.0, 8.0):
        attacks[f"poisonedfl {scale:g}"] = [{"name": "poisonedfl", "count": 6, "period": 5, "scale": scale}]
    for rule in ("fldetector", "flanders", "mud_hog"):
        for name, who in attacks.items():
            yield (
                f"{name}, {rule}",
                {"rounds": 60, "defense": SIX.get(rule, RULES.get(rule, rule)), "attacks": who},
            )


def tailored() -> Iterator[tuple[str, Case]]:
    """``agr_tailored`` and ``min_max`` along three directions, four of twenty."""
    sizes: dict[str, Case] = {"std": {}, "unit": {}, "sign": {"start_gamma": 1.0}}
    for rule in ("median", "trimmed_mean", "multi_krum"):
        yield f"none, {rule}", {"defense": RULES.get(rule, rule)}
        for direction, options in sizes.items():
            told = {"direction": direction, "count": 4, **options}
            fine = {"tolerance": 1e-6} if direction == "sign" else {}
            coarse = {"tolerance": 1e-3} if direction == "sign" else {}
            for attack in ({"name": "min_max", **told, **fine}, {"name": "agr_tailored", **told, **coarse}):
                yield (
                    f"{attack['name']} {direction}, {rule}",
                    {"defense": RULES.get(rule, rule), "attacks": [attack]},
                )


def triggers() -> Iterator[tuple[str, Case]]:
    """Fixed and made triggers, four of twenty; ``unpoisoned``: on a model that nobody poisoned."""
    middle = {"pixels": [[3, 3], [3, 4], [4, 3], [4, 4]], "fraction": 0.5}
    attacks = {
        "pixel_backdoor": {"name": "pixel_backdoor", **middle},
        "a3fl": {"name": "a3fl", **middle},
        "iba": {"name": "iba", "fraction": 0.5},
        "pixel_backdoor at the edge": FIXED,
        "a3fl at the edge": {**FIXED, "name": "a3fl"},
    }
    for rule in ("multi_krum", "flame"):
        for name, attack in list(attacks.items())[: 5 if rule == "multi_krum" else 3]:
            yield f"{name}, {rule}", {"defense": RULES.get(rule, rule), "attacks": by(4, attack)}
    for name in ("a3fl", "iba"):
        yield f"{name}, unpoisoned", {"attacks": by(4, {**attacks[name], "start_round": 99})}


def durability() -> Iterator[tuple[str, Case]]:
    """Six attackers in rounds 20 to 29; then honest rounds, of 80 in all."""
    attacks = {
        "pixel_backdoor": FIXED,
        "neurotoxin": {**FIXED, "update": {"name": "neurotoxin", "ratio": 0.9}},
        "chameleon": {"name": "chameleon", "pixels": PIXELS, "fraction": 0.5},
    }
    for name, attack in attacks.items():
        when = {"start_round": 20, "stop_round": 30}
        yield name, {"rounds": 80, "attacks": by(6, {**attack, **when}), "evaluation": {"every": 1}}


def probing() -> Iterator[tuple[str, Case]]:
    """``three_d_fed`` against detectors, five of twenty, with the same fixed trigger."""
    attacks = {
        "pixel_backdoor": FIXED,
        "sybil": {**FIXED, "update": {"name": "sybil"}},
        "constrain_and_scale": {
            **FIXED,
            "update": {"name": "constrain_and_scale", "alpha": 0.9, "scale": 1.0},
        },
        "three_d_fed": {**FIXED, "update": {"name": "three_d_fed"}},
    }
    for rule in ("flame", "foolsgold"):
        yield f"none, {rule}", {"rounds": 40, "defense": rule}
        for name, attack in attacks.items():
            yield f"{name}, {rule}", {"rounds": 40, "defense": rule, "attacks": by(5, attack)}


def others() -> Iterator[tuple[str, Case]]:
    """The small ones, each against one rule that it passes and one that it does not."""
    semantic = {"name": "semantic_backdoor", "source": 7, "target": 2}
    five: dict[str, list[Case]] = {
        "none": [],
        "label_swap": by(5, {"name": "label_swap"}),
        "semantic_backdoor": by(5, semantic),
        "permutation": by(5, {"name": "permutation"}),
        "alternating_minimization": by(5, {"name": "alternating_minimization"}),
        "sybil, no noise": by(5, {**FIXED, "update": {"name": "sybil"}}),
        "sybil, noise 1": by(5, {**FIXED, "update": {"name": "sybil", "noise": 1.0}}),
    }
    for rule in ("mean", "multi_krum", "foolsgold"):
        for name, who in five.items():
            defense = RULES.get(rule, rule)
            if rule == "multi_krum":
                defense = defense | {"num_byzantine": 5}
            yield f"{name}, {rule}", {"defense": defense, "attacks": who}


PARTS = {part.__name__: part for part in (signs, history, tailored, triggers, durability, probing, others)}


def outcome(seed: int, case: Case) -> Case:
    """Return accuracy and success of every evaluated round, and the share of attackers flagged."""
    rounds = case.get("rounds", 30)
    scenario = gauntlet.Scenario(
        name="attackers",
        seed=seed,
        num_clients=20,
        data="digits",
        model={"name": "mlp", "hidden": [32]},
        partition={"name": "dirichlet", "alpha": 1.0},
        training={"local_epochs": 1, "batch_size": 16, "lr": 0.2},
        runtime={"pool": "serial"},
        checkpoint={"every": 0},
        **{"rounds": rounds, "evaluation": {"every": rounds}, **case},
    )
    with TemporaryDirectory() as folder:
        table = gauntlet.simulate(scenario, Path(folder) / "run", progress=False).rounds
    found = {name: [float(v) for v in table[name].dropna()] for name in ("accuracy", "attack_success_rate")}
    flagged = table["recall"][table["attacking"] > 0].dropna()
    return {**found, "flagged": float(flagged.mean()) if len(flagged) else 0.0}


def lasting(found: Case) -> float:
    """Return how many rounds after the last attacked one (29) success stays at or above a half."""
    after = found["attack_success_rate"][30:]
    below = [n for n, success in enumerate(after) if success < 0.5]
    return float(below[0] if below else len(after))


def shown(found: list[Case], durable: bool) -> str:
    """Return a case's numbers in one line: each seed's last accuracy, success, and share flagged."""
    last = [one["accuracy"][-1] for one in found]
    parts = [f"accuracy {_row(last, 3)} (mean {mean(last):.3f})"]
    if found[0]["attack_success_rate"]:
        at = 29 if durable else -1
        parts.append(f"success {_row([one['attack_success_rate'][at] for one in found])}")
    if durable:
        parts.append(f"lasts {_row([lasting(one) for one in found], 0)} rounds")
        parts.append(f"at the end {_row([one['attack_success_rate'][-1] for one in found])}")
    if any(one["flagged"] for one in found):
        parts.append(f"flagged {_row([one['flagged'] for one in found])}")
    return "; ".join(parts)


def _row(values: list[float], digits: int = 2) -> str:
    return " ".join(f"{value:.{digits}f}" for value in values)


def main() -> None:
    """Run the parts that are asked for, and print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, help="where results are kept, one a line")
    given = parser.parse_args()
    kept = {}
    if given.out and given.out.exists():
        kept = dict(map(json.loads, given.out.read_text().splitlines()))
    for part in given.parts or PARTS:
        for name, case in PARTS[part]():
            found = []
            for seed in given.seeds:
                key = json.dumps([seed, case], sort_keys=True)
                if key not in kept:
                    kept[key] = outcome(seed, case)
                    if given.out:
                        with given.out.open("a") as file:
                            file.write(json.dumps([key, kept[key]]) + "\n")
                found.append(kept[key])
            print(f"{part}: {name}: {shown(found, part == 'durability')}", flush=True)


if __name__ == "__main__":
    main()
