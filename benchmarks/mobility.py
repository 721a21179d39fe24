"""The mobility paper's baselines, input perturbation of a linear fit, and its epsilons in three readings.

Usage: mobility.py [FOLDER ...]. Prints Markdown tables. With folders, which hold sweeps of ``dp-mobility``,
one table: their finished runs beside those of the same model and seed without noise.
"""

import statistics
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asked import words

from gauntlet.clients.data.baselines import Errors, least_squares, seasonal
from gauntlet.clients.data.mobility import Mobility, read_records
from gauntlet.core.seeds import generator
from gauntlet.privacy.accounting.curves import gaussian_epsilon
from gauntlet.privacy.accounting.order_grid import (
    OLD_GRID,
    fixed_batches_epsilon,
    new_conversion,
    old_conversion,
    poisson_divergences,
)
from gauntlet.privacy.input_gaussian import InputGaussian
from gauntlet.sims.results import load_run

DELTA, ROWS, EPOCHS, SEEDS = 1e-7, 3120, 100, range(5)
WINDOWS = 3114  # of the training rows
GRADIENTS = ((35, 5, 62_400), (70, 5, 62_400), (140, 10, 31_200), (500, 5, 62_400))  # z, batch, steps
INPUTS = (0.0650, 0.0399, 0.0357, 0.0317)  # epsilon


def baselines() -> None:
    print("| forecast | RMSE | MAE |\n|---|---|---|")
    counts = read_records()[1]
    forecasts: dict[str, Errors] = {
        "the last half hour again (persistence)": seasonal(counts, 336),
        "the same half hour yesterday": seasonal(counts, 336, 48),
        "the same half hour last week": seasonal(counts, 336, 336),
        "linear least squares, six lags of the counts": least_squares(Mobility(clock=False).load()),
        "linear least squares, with day and week": least_squares(Mobility().load()),
        "linear least squares, the notebooks' week of 30 days": least_squares(
            Mobility(week_days=30.0).load()
        ),
    }
    for name, found in forecasts.items():
        print(f"| {name} | {found.mean_rmse:.1f} | {found.mean_mae:.1f} |")


def input_noise() -> None:
    plain = least_squares(Mobility(clock=False).load()).mean_rmse
    print(f"\nSeeds {SEEDS[0]} to {SEEDS[-1]}; without noise {plain:.1f}.\n")
    print("| epsilon (formula) | epsilon (exact) | noise std | RMSE: mean (min to max) | loss |")
    print("|---|---|---|---|---|")
    for epsilon in INPUTS:
        noise = InputGaussian(delta=DELTA, epsilon=epsilon)
        found = []
        for seed in SEEDS:
            stream = generator(seed, "input noise")
            noised = Mobility(clock=False).load_perturbed(lambda r, n=noise, s=stream: n.perturb(r, s))
            found.append(least_squares(noised).mean_rmse)
        mean, exact = statistics.fmean(found), gaussian_epsilon(1 / noise.noise_multiplier**2, DELTA)
        spread = f"{mean:.1f} ({min(found):.1f} to {max(found):.1f})"
        print(f"| {epsilon} | {exact:.4f} | {noise.std:.0f} | {spread} | {100 * (mean / plain - 1):+.2f} % |")


def readings() -> None:
    print("\n| z, batch, steps | old conversion | new conversion, same grid | fixed batches |")
    print("|---|---|---|---|")
    for z, batch, steps in GRADIENTS:
        divergences = poisson_divergences(z, batch / ROWS, steps)
        old, new = (convert(divergences, OLD_GRID, DELTA) for convert in (old_conversion, new_conversion))
        fixed = fixed_batches_epsilon(z, EPOCHS, DELTA, batch // 5)
        edge = " (last order)" if new.warning else ""
        print(f"| {z}, {batch}, {steps} | {old.epsilon:.4f}{edge} | {new.epsilon:.4f}{edge} | {fixed:.3f} |")


def published(scenario: Mapping[str, Any]) -> float:
    """Return the epsilon of the paper's way: its formula, or the old conversion for Poisson batches."""
    privacy, training = scenario["privacy"], scenario["training"]
    if privacy["name"] == "input_gaussian":
        return float(privacy["epsilon"])
    steps = training["local_epochs"] * -(-WINDOWS // training["batch_size"])
    rate = training["batch_size"] / WINDOWS
    divergences = poisson_divergences(privacy["noise_multiplier"], rate, steps)
    return old_conversion(divergences, OLD_GRID, DELTA).epsilon


def runs(folders: list[str]) -> None:
    found: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    spent: dict[tuple[str, str], str] = {}
    places = [one.parent for folder in folders for one in sorted(Path(folder).glob("*/manifest.json"))]
    for run in map(load_run, places):
        if run.manifest["status"] != "complete":
            continue
        scenario = run.manifest["scenario"]
        options = {k: v for k, v in scenario["privacy"].items() if k in ("epsilon", "noise_multiplier")}
        noise = " ".join([scenario["privacy"]["name"], *(f"{k} {v:g}" for k, v in options.items())])
        key = scenario["model"]["name"], noise
        found[key][run.manifest["seed"]] = float(run.rounds["rmse"].iloc[-1])
        epsilon = run.manifest["epsilon"]["value"]
        spent[key] = "- | -" if epsilon is None else f"{published(scenario):.3g} | {epsilon:.3g}"
    print("| model | noise | epsilon, as published | exact | seeds | RMSE: mean (min to max) | loss |")
    print("|---|---|---|---|---|---|---|")
    for (model, noise), errors in found.items():
        values, plain = list(errors.values()), found.get((model, "none"), {})
        lost = [100 * (value / plain[seed] - 1) for seed, value in errors.items() if seed in plain]
        loss = f"{statistics.fmean(lost):+.2f} % ({min(lost):+.2f} to {max(lost):+.2f})" if lost else ""
        spread = f"{statistics.fmean(values):.0f} ({min(values):.0f} to {max(values):.0f})"
        shown = "" if noise == "none" else loss
        print(f"| {model} | {noise} | {spent[model, noise]} | {len(values)} | {spread} | {shown} |")


if __name__ == "__main__":
    if given := words(__doc__, folders=[]).folders:
        runs(given)
    else:
        baselines()
        input_noise()
        readings()
