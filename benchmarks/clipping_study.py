"""Tables of the sweep ``adaptive-clipping``: does a moving clip norm need less tuning than a fixed one?

Usage: clipping_study.py FOLDER ..., result folders of ``gauntlet sweep adaptive-clipping``; one of them holds
fixed norms. Prints a Markdown table a data set: accuracy on the test set in per cent, mean ± standard
deviation over the seeds that are complete, and for every budget how far the moving ones stay behind the best
fixed norm.
"""

from pathlib import Path

import pandas as pd
from asked import words

from gauntlet.sims.results import load_run
from gauntlet.sims.sweep import read_sweep


def finished(folder: Path) -> pd.DataFrame:
    """Return a row a complete run: what was swept, and the accuracy of its last round in per cent."""
    rows = []
    for variant in read_sweep(folder) or []:
        place, scenario = folder / variant.folder, variant.scenario
        if not (place / "manifest.json").exists():
            continue
        run = load_run(place)
        if run.manifest["status"] == "complete":
            options = scenario.run_spec().privacy.options
            warm_up = scenario.server_optimizer.spec().options.get("warmup_rounds", 0)
            name = said(options["clipping"]) + (f", warm-up {warm_up}" if warm_up else "")
            row = {"data": scenario.data.name, "clipping": name}
            row |= {"start": options["clip_norm"]}
            row |= {"epsilon": options["epsilon"], "accuracy": 100 * run.rounds["accuracy"].iloc[-1]}
            rows.append(row)
    return pd.DataFrame(rows)


def said(clipping: str | dict[str, object]) -> str:
    """Return a way of clipping with its options."""
    if isinstance(clipping, str):
        return clipping
    return " ".join(str(value) if key == "name" else f"{key}={value}" for key, value in clipping.items())


def print_table(runs: pd.DataFrame) -> None:
    """Print one data set's table, and the differences to its best fixed norm."""
    by = runs.groupby(["clipping", "start", "epsilon"])["accuracy"]
    means, spread = by.mean().unstack(), by.std().unstack()
    budgets = [f"epsilon {epsilon:g}" for epsilon in means.columns]
    print("| clipping | C at first | " + " | ".join(budgets) + " |")
    print("|---" * (2 + len(budgets)) + "|")
    for (clipping, start), row in means.iterrows():
        both = zip(row, spread.loc[(clipping, start)], strict=True)
        cells = [f"{m:.1f} ± {s:.1f}" if m == m else "" for m, s in both]
        print(f"| {clipping} | {start:g} | " + " | ".join(cells) + " |")
    best, worst = means.loc["fixed"].max(), means.loc["fixed"].min()
    print("| best fixed over worst fixed | | " + " | ".join(f"{d:+.1f}" for d in best - worst) + " |")
    for clipping in [name for name in means.index.levels[0] if name != "fixed"]:
        least = means.loc[clipping].min() - best
        most = means.loc[clipping].max() - best
        both = zip(least, most, strict=True)
        cells = [f"{low:+.1f} to {high:+.1f}" if low == low else "" for low, high in both]
        print(f"| {clipping}, over the best fixed | all | " + " | ".join(cells) + " |")


def main() -> None:
    """Read and print."""
    runs = pd.concat([finished(folder) for folder in words(__doc__, folders=[Path]).folders])
    for name, of_data in runs.groupby("data", sort=False):
        seeds = len(of_data) / of_data.groupby(["clipping", "start", "epsilon"]).ngroups
        print(f"\n{name}, {seeds:g} seeds\n")
        print_table(of_data)


if __name__ == "__main__":
    main()
