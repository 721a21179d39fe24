"""The leaderboard of docs/leaderboard.md: run or resume one of its settings, write its table and ranking.

Usage: leaderboard.py SETTING --results FOLDER [--only defense=median ...] [--workers 2]. The settings stand
in docs/leaderboard/settings.json. A folder that was stopped is resumed.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd

from gauntlet.sims.matrix_axes import axes_of
from gauntlet.sims.scenario import load_scenario

DOCS = Path(__file__).resolve().parent.parent / "docs"
SETTINGS = json.loads((DOCS / "leaderboard" / "settings.json").read_text(encoding="utf-8"))
COLUMNS = [
    *("defense", "attack", "seeds", "accuracy", "accuracy_low", "accuracy_high", "best_accuracy", "drop"),
    *("attack_success_rate", "precision", "recall", "false_positive_rate", "aggregate_distance", "reason"),
]


BACKDOORS = (
    *("pixel_backdoor", "dba", "pixel_backdoor + model_replacement", "pixel_backdoor + neurotoxin"),
    *("a3fl", "chameleon"),
)
"""Those whose trigger alone fools few: a model that nobody poisoned in a twentieth of all cases."""


def run(setting: str, folder: Path, only: list[str], workers: int) -> None:
    """Run a setting's matrix, or what is left of it; fields that fail stay blank."""
    begun = (folder / "matrix.json").is_file()
    told = ["resume", str(folder)] if begun else ["matrix", "leaderboard", *SETTINGS[setting][1]]
    told += [] if begun else ["--out", str(folder), *(part for one in only for part in ("--only", one))]
    command = [sys.executable, "-m", "gauntlet", *told, "-q", "--pool", "ray", "--workers", str(workers)]
    if (code := subprocess.run(command, check=False).returncode) not in (0, 2):
        raise SystemExit(code)


def keep(setting: str, folders: list[Path]) -> pd.DataFrame:
    """Write the tables of a setting's folders into the documentation, four digits a number; return them.

    Of a field that several folders hold the last one counts: what is new needs its own part alone.
    """
    path = DOCS / "leaderboard" / f"{setting}.csv"
    parts = [pd.read_csv(folder / "matrix.csv") for folder in folders]
    whole = pd.concat([*([pd.read_csv(path)] if path.is_file() else []), *parts])
    whole = whole[whole["attack"] != "worst case"].drop_duplicates(["defense", "attack"], keep="last")
    attacks, defenses, _ = axes_of(load_scenario("leaderboard"))
    order = list(defenses), ["no attack", *attacks]
    table = whole.sort_values(["defense", "attack"], key=lambda c: c.map(order[c.name == "attack"].index))
    table = table.reindex(columns=COLUMNS).round(4).reset_index(drop=True)
    table.to_csv(path, index=False, lineterminator="\n")
    return table


def ranking(table: pd.DataFrame) -> str:
    """Return a Markdown table of the defenses, by the accuracy that the worst attack leaves at the end."""
    rows = []
    for defense, part in table.groupby("defense", sort=False):
        by = part.set_index("attack")
        attacked = part[part["attack"] != "no attack"]
        if attacked["accuracy"].isna().any():
            continue
        worst = attacked.loc[attacked["accuracy"].idxmin()]
        taught = attacked[attacked["attack"].map(_plain).isin(BACKDOORS)]
        most = taught.loc[taught["attack_success_rate"].idxmax()]
        rows.append(
            {
                "defense": f"`{defense}`",
                "no attack": by.loc["no attack", "accuracy"],
                "mean of attacks": attacked["accuracy"].mean(),
                "worst attack": worst["accuracy"],
                "which": f"`{worst['attack']}`",
                "worst of six backdoors": most["attack_success_rate"],
                "that is": f"`{most['attack']}`",
            }
        )
    rows.sort(key=lambda row: -row["worst attack"])
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    for row in rows:
        told = [value if isinstance(value, str) else f"{100 * value:.1f}" for value in row.values()]
        lines.append("| " + " | ".join(told) + " |")
    return "\n".join(lines)


def publish(setting: str, told: str) -> None:
    """Write a setting's ranking into its place on the page."""
    page = DOCS / "leaderboard.md"
    before, mark, rest = page.read_text(encoding="utf-8").partition(f"<!-- {setting} -->\n")
    if mark:
        _, end, after = rest.partition(f"<!-- end of {setting} -->")
        page.write_text(f"{before}{mark}\n{told}\n\n{end}{after}", encoding="utf-8")


def _plain(attack: str) -> str:
    """Return an attack's label without the options of its plug-ins."""
    return " + ".join(part.split()[0] for part in attack.split(" + "))


def main() -> None:
    """Run a setting, keep its table, and publish its ranking."""
    parser = argparse.ArgumentParser()
    parser.add_argument("setting", choices=list(SETTINGS))
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--only", action="append", default=[], metavar="AXIS=VALUE")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    run(given.setting, given.results, given.only, given.workers)
    told = ranking(keep(given.setting, [given.results]))
    publish(given.setting, told)
    print(told)


if __name__ == "__main__":
    main()
