"""What two attacks read of sentences, and perplexity, against epsilon: a table and a figure of a sweep.

Usage: leakage_text_epsilon.py RESULTS [--out FIGURE.png]

RESULTS is the folder of `gauntlet sweep text-epsilon --out RESULTS`. One row a setting: epsilon of the whole
run, perplexity at the end, and of each attack ROUGE-1 (mean, least and largest over clients and seeds) and
the share of whole sentences. In the figure a line joins a mechanism's settings; those without an epsilon
stand at the right. Central noise is behind the server, so that its epsilon does not cover the attacker:
half-filled.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd

ATTACKS, COLORS = ("dager", "lamp"), {"dager": "#D55E00", "lamp": "#0072B2"}
MARKERS = {"local_gaussian": "o", "dp_sgd": "s", "gaussian": "D", "none": "x"}

Case = dict[str, Any]


def cases_in(folder: Path) -> list[Case]:
    """Return each setting with what all its seeds gave, in the order of epsilon within a mechanism."""
    found: dict[str, list[Case]] = defaultdict(list)
    for place in sorted(folder.rglob("manifest.json")):
        run, manifest = place.parent, json.loads(place.read_text())
        if not (run / "rounds.parquet").exists():
            continue
        last = pd.read_parquet(run / "rounds.parquet").iloc[-1]
        privacy = manifest["scenario"].get("privacy") or {"name": "none"}
        case: Case = {"privacy": privacy, "seed": manifest["seed"], "perplexity": float(last["perplexity"])}
        case["epsilon"] = float(last["epsilon"])
        for report in sorted(run.glob("reconstructions/*/reconstruction.json")):
            said = json.loads(report.read_text())
            case.setdefault(said["attack"], []).extend(zip(said["rouge_1"], said["exact"], strict=True))
        found[json.dumps(privacy, sort_keys=True)].append(case)
    settings = [_together(cases) for cases in found.values()]
    return sorted(settings, key=lambda one: (one["name"], -one["epsilon"]))


def _together(cases: list[Case]) -> Case:
    privacy = cases[0]["privacy"]
    made: Case = {"name": privacy["name"], "privacy": privacy, "seeds": sorted(c["seed"] for c in cases)}
    made["epsilon"] = max(case["epsilon"] for case in cases)
    made["perplexity"] = [case["perplexity"] for case in cases]
    for attack in ATTACKS:
        pairs = [pair for case in cases for pair in case.get(attack, [])]
        made[attack] = [float(rouge) for rouge, _ in pairs]
        made[f"{attack}_exact"] = mean(float(exact) for _, exact in pairs)
    return made


def line(one: Case) -> str:
    noise = one["privacy"].get("noise_multiplier")
    name = f"`{one['name']}`" + ("" if noise is None else f", noise multiplier {noise:g}")
    epsilon = "none" if one["epsilon"] != one["epsilon"] else f"{one['epsilon']:.3g}"
    spread = [f"{mean(v):.2f} ({min(v):.2f} to {max(v):.2f})" for v in (one[a] for a in ATTACKS)]
    exact = [f"{100 * one[f'{a}_exact']:.0f} %" for a in ATTACKS]
    cells = (name, ", ".join(map(str, one["seeds"])), epsilon, f"{mean(one['perplexity']):.1f} "
             f"({min(one['perplexity']):.1f} to {max(one['perplexity']):.1f})",
             spread[0], exact[0], spread[1], exact[1])  # fmt: skip
    return f"| {' | '.join(cells)} |"


def draw(settings: list[Case], place: Path) -> None:
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(3, 1, figsize=(7, 8), sharex=True, layout="constrained")
    known = [one for one in settings if one["epsilon"] == one["epsilon"]]
    right = 30 * max(one["epsilon"] for one in known)
    for name in dict.fromkeys(one["name"] for one in settings):
        rows = [one for one in settings if one["name"] == name]
        x = [right if one["epsilon"] != one["epsilon"] else one["epsilon"] for one in rows]
        style: Any = {"marker": MARKERS[name], "fillstyle": "left" if name == "gaussian" else "full"}
        for attack in ATTACKS:
            look = {"color": COLORS[attack], "label": f"{attack}, {name}", **style}
            panels[0].plot(x, [mean(one[attack]) for one in rows], **look)
            panels[1].plot(x, [100 * one[f"{attack}_exact"] for one in rows], **look)
        panels[2].plot(x, [mean(one["perplexity"]) for one in rows], color="#555555", label=name, **style)
    for axes, title in zip(panels, ("ROUGE-1", "whole sentences, %", "test perplexity"), strict=True):
        axes.set_ylabel(title)
        axes.set_xscale("log")
        axes.grid(alpha=0.3)
    panels[2].set_xlabel("ε of the whole run (at the right: none)")
    panels[2].axhline(65, color="#999999", linestyle=":")
    panels[0].legend(fontsize=7, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    panels[2].legend(fontsize=7)
    figure.savefig(place, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    settings = cases_in(asked.results)
    print("| privacy | seeds | epsilon | perplexity | `dager`, ROUGE-1 | whole | `lamp`, ROUGE-1 | whole |\n|"
          + "---|" * 8)  # fmt: skip
    for one in settings:
        print(line(one))
    if asked.out:
        draw(settings, asked.out)


if __name__ == "__main__":
    main()
