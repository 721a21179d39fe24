"""Attacks times defenses times shares of malicious clients: one run a cell and seed, one table at the end."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..clients.data.base import targets_of
from ..core.errors import GauntletError, ResultsError, ScenarioError
from ..core.registry import option_names
from ..server.ingredients import make_data, make_sampling
from .families import family
from .matrix_table import NO_ATTACK, cell_scores, matrix_table
from .progress import Progress, Silent
from .results import Run, fresh_folder, write_json
from .run import RESULTS
from .scenario import Scenario, make_scenario
from .sections import Runtime
from .sweep import Variant, begin_sweep, plugin_label, read_sweep, run_variants

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1


@dataclass(frozen=True)
class Cell:
    """One seed of one field of the matrix, and the run that fills it.

    Attributes:
        attack: The attack's label, or ``"no attack"``.
        share: Share of malicious clients; without an attack, the one that the defense was told to expect.
        defense: The defense's label.
        seed: The run's seed.
        folder: The run's folder; defenses that are told nothing share one without an attack.
    """

    attack: str
    share: float
    defense: str
    seed: int
    folder: str


def plan_matrix(scenario: Scenario) -> tuple[list[Cell], list[Variant]]:
    """Return the cells of ``[matrix]`` and the runs that fill them.

    Every defense also meets no attack. A plug-in that takes ``num_byzantine`` and is given none is told the
    true number of malicious clients in a cohort, rounded up; without an attack, the same number.

    Raises:
        ScenarioError: An axis is empty, or two of its members have the same label.
    """
    axes = scenario.matrix
    for name in ("attacks", "defenses", "shares"):
        if not getattr(axes, name):
            raise ScenarioError(f"'{scenario.name}' has no {name} to cross: name them with --{name}")
    attacks, defenses = _labelled(axes.attacks, "attack"), _labelled(axes.defenses, "defense")
    if len(set(axes.shares)) < len(axes.shares) or len(set(axes.seeds)) < len(axes.seeds):
        raise ScenarioError(f"a value stands twice: shares {axes.shares}, seeds {axes.seeds}")
    for share in axes.shares:
        if int(share * scenario.num_clients + 1e-9) == 0:
            raise ScenarioError(f"a share of {share} of {scenario.num_clients} clients is nobody")
    cells: list[Cell] = []
    runs: dict[str, Variant] = {}
    for defense, parts in defenses.items():
        for share in axes.shares:
            for attack, poisons in {NO_ATTACK: [], **attacks}.items():
                for seed in axes.seeds or [scenario.seed]:
                    one = _scenario(scenario, poisons, parts, share, seed)
                    label = (
                        f"{attack}, {defense}"
                        if attack == NO_ATTACK
                        else f"{attack} {100 * share:g} %, {defense}"
                    )
                    variant = Variant(label, f"run-{len(runs):03d}", one)
                    folder = runs.setdefault(one.fingerprint(), variant).folder
                    cells.append(Cell(attack, share, defense, seed, folder))
    return cells, _told_apart(list(runs.values()))


def _labelled(members: Iterable[Any], noun: str) -> dict[str, list[dict[str, Any]]]:
    """Return the members of an axis, each a list of plug-ins, by their labels."""
    whole = [[_table(part) for part in (m if isinstance(m, list) else [m])] for m in members]
    among = [part for parts in whole for part in parts]
    found: dict[str, list[dict[str, Any]]] = {}
    for parts in whole:
        label = " + ".join(plugin_label(part, among) for part in parts)
        if not parts or label in found or label == NO_ATTACK:
            raise ScenarioError(f"the {noun} '{label}' stands twice in the matrix, or is none")
        found[label] = parts
    return found


def _table(plugin: Any) -> dict[str, Any]:
    return {"name": plugin} if isinstance(plugin, str) else dict(plugin)


def _scenario(
    base: Scenario, attack: list[dict[str, Any]], defense: list[dict[str, Any]], share: float, seed: int
) -> Scenario:
    """Return the scenario of one run."""
    raw = base.values() | {"matrix": {}, "sweep": {}, "seed": seed}
    sampling = make_sampling(base.run_spec())[1]
    malicious = ceil(int(share * base.num_clients + 1e-9) * sampling.sample_rate - 1e-9)
    *before, last = [_told(part, malicious, at == len(defense) - 1) for at, part in enumerate(defense)]
    raw["pre_aggregations"], raw["defense"] = [*raw["pre_aggregations"], *before], last
    if attack:
        first, *follows = attack
        joined = {"update": follows[0]} if follows else {}
        raw["attacks"] = [*raw["attacks"], {"share": share} | first | joined]
    return make_scenario(raw, base.name)


def _told(plugin: dict[str, Any], malicious: int, is_defense: bool) -> dict[str, Any]:
    """Return a plug-in that knows how many malicious clients to expect, if it wants to know."""
    found = family("defenses" if is_defense else "pre_aggregations").find(str(plugin.get("name", "")))
    wants = "num_byzantine" in (option_names(found) or [])
    return {"num_byzantine": malicious, **plugin} if wants else plugin


def _told_apart(runs: list[Variant]) -> list[Variant]:
    """Return the runs with labels that differ: by number where a defense was told different things."""
    taken: dict[tuple[str, int], int] = {}
    found = []
    for run in runs:
        key = (run.label, run.scenario.seed)
        taken[key] = taken.get(key, 0) + 1
        found.append(run if taken[key] == 1 else replace(run, label=f"{run.label} ({taken[key]})"))
    return found


def run_matrix(
    scenario: Scenario, out: Path | None = None, progress: Progress | None = None
) -> tuple["pd.DataFrame", Path]:
    """Run every cell and return (the table, the folder that holds it as ``matrix.csv``, with heat maps).

    A cell that fails is left blank, with its reason; the others go on.

    Raises:
        GauntletError: Whatever cannot run, in one line. Every cell is checked before the first one runs.
    """
    cells, todo = plan_matrix(scenario)
    data = make_data(todo[0].scenario.run_spec())
    if targets_of(data) is not None:
        raise ScenarioError(
            f"a matrix compares accuracies, and {data.name} has real-valued targets; sweep over attacks and "
            "defenses instead"
        )
    folder = out if out is not None else fresh_folder(RESULTS, f"{scenario.name}-matrix")
    begin_sweep(todo, folder, scenario)
    write_json(folder / "matrix.json", {"schema": SCHEMA, "cells": [asdict(cell) for cell in cells]})
    return _finish(cells, todo, folder, scenario.runtime, progress or Silent())


def is_matrix(folder: Path) -> bool:
    """Return whether a folder holds a matrix."""
    return (folder / "matrix.json").is_file()


def resume_matrix(
    folder: Path, progress: Progress | None = None, runtime: Runtime | None = None
) -> tuple["pd.DataFrame", Path]:
    """Run every cell that is not complete, and draw the matrix again.

    Raises:
        ResultsError: The folder holds no matrix.
    """
    todo, path = read_sweep(folder), folder / "matrix.json"
    try:
        cells = [Cell(**cell) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{path} cannot be read: {error}") from error
    if todo is None:
        raise ResultsError(f"{folder} holds no matrix (no sweep.json)")
    return _finish(cells, todo, folder, runtime or todo[0].scenario.runtime, progress or Silent())


def _finish(
    cells: Sequence[Cell], todo: Sequence[Variant], folder: Path, runtime: Runtime, progress: Progress
) -> tuple["pd.DataFrame", Path]:
    from .plots import save
    from .plots.matrix import MAPS, heat_maps

    failures = run_variants(todo, folder, runtime, progress)
    if len(failures) == len(todo):
        raise next(iter(failures.values()))
    table = matrix_table([_row(cell, folder, failures) for cell in cells])
    table.to_csv(folder / "matrix.csv", index=False, lineterminator="\n")
    for name in MAPS:
        if MAPS[name].column in table and table[MAPS[name].column].notna().any():
            save(heat_maps(table, name), folder / "plots" / f"matrix-{name}.png")
    return table, folder


def _row(cell: Cell, folder: Path, failures: dict[str, GauntletError]) -> dict[str, Any]:
    row: dict[str, Any] = asdict(cell)
    if cell.folder in failures:
        return row | {"reason": " ".join(str(failures[cell.folder]).split())}
    return row | cell_scores(Run(folder / cell.folder))
