"""Attacks times defenses times shares of malicious clients: one run a cell and seed, one table at the end."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from itertools import chain
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import CohortError, GauntletError, PluginError, ResultsError, ScenarioError
from ..core.locks import FolderLock
from ..core.options import options_of
from ..core.registry import Family, option_names
from ..server.assembly.ingredients import make_data, make_roles, make_sampling, make_task
from .cells import Cell, is_matrix, place_of, read_cells, stored
from .families import family
from .folders import claimed, fresh_folder, remove
from .matrix_axes import axes_of, clients_of
from .matrix_table import NO_ATTACK, cell_scores, matrix_table
from .progress import Progress, Silent
from .provenance import NO_CONSENT, Consent
from .report.writing import keep_report
from .results import Run, write_file, write_json
from .run import RESULTS
from .scenario import Scenario, make_scenario
from .sections import Runtime
from .sweep import Variant, begin_sweep, check_variants, taken_up
from .sweep_runs import run_variants

if TYPE_CHECKING:
    import pandas as pd


def plan_matrix(scenario: Scenario, only: Iterable[str] = ()) -> tuple[list[Cell], list[Variant]]:
    """Return the cells of ``[matrix]`` and the runs that fill them; with ``only``, those that it takes.

    The matrix's attacks and defenses replace the scenario's own; of its attacks only honest ones stay, such
    as ``unreliable``, in every cell, and its pre-aggregations stay before the matrix's. Every defense also
    meets no attack. A plug-in that takes ``num_byzantine``, is given none and cannot do without is told the
    true number of malicious clients in a cohort, rounded up; without an attack, the number that the share
    would bring. An honest attack brings 0; a plug-in that refuses 0 is told the same as without an attack.

    Raises:
        ScenarioError: An axis is empty, two of its members have the same label, an attack is a list of
            more than one attack on data and one on updates, or ``only`` takes no cell.
    """
    scenario = scenario.settled()
    attacks, defenses, shares = axes_of(scenario, only)
    base = _without_attackers(scenario)
    cells: list[Cell] = []
    runs: dict[str, Variant] = {}
    for defense, parts in defenses.items():
        for share in shares:
            for attack, poisons in {NO_ATTACK: [], **attacks}.items():
                loud = attack if attack == NO_ATTACK else f"{attack} {100 * share:g} %"
                for seed in scenario.matrix.seeds or [scenario.seed]:
                    one = _scenario(base, poisons, parts, share, seed)
                    variant = Variant(f"{loud}, {defense}", place_of(len(runs)), one)
                    folder = runs.setdefault(one.fingerprint(), variant).folder
                    cells.append(Cell(attack, share, defense, seed, folder))
    return cells, _told_apart(list(runs.values()))


def _without_attackers(scenario: Scenario) -> Scenario:
    """Return the scenario with those of its attacks alone whose clients are honest, and nothing to cross."""
    spec = scenario.run_spec()
    stay = [
        attack.model_dump(mode="json")
        for attack, role in zip(scenario.attacks, spec.roles, strict=True)
        if all(one.honest for one in chain(*make_roles(replace(spec, roles=(role,)))))
    ]
    return make_scenario(scenario.values() | {"attacks": stay, "matrix": {}, "sweep": {}}, scenario.name)


def _scenario(
    base: Scenario, attack: list[dict[str, Any]], defense: list[dict[str, Any]], share: float, seed: int
) -> Scenario:
    """Return the scenario of one run; ``base`` has no attackers of its own."""
    raw = base.values() | {"seed": seed}
    numbers = [clients_of(share, base)]
    if attack:
        first, *follows = attack
        joined = {"update": follows[0]} if follows else {}
        raw["attacks"] = [*raw["attacks"], {"share": share} | first | joined]
        roles = chain(*make_roles(make_scenario(raw, base.name).run_spec()))
        malicious = {client for role in roles if not role.honest for client in role.clients}
        numbers.insert(0, len(malicious))
    sample_rate = make_sampling(base.run_spec())[1].sample_rate
    in_cohort = [ceil(number * sample_rate - 1e-9) for number in numbers]
    *before, last = defense
    raw["pre_aggregations"] += [_told(part, in_cohort, family("pre_aggregations")) for part in before]
    raw["defense"] = _told(last, in_cohort, family("defenses"))
    return make_scenario(raw, base.name)


def _told(plugin: dict[str, Any], numbers: Sequence[int], members: Family[Any]) -> dict[str, Any]:
    """Return a plug-in that knows how many malicious clients to expect, if it needs to.

    It does not where it is given ``num_byzantine``, or works without, as ``trimmed_mean`` with a ``beta``.
    It is told the first of ``numbers`` that it accepts.
    """
    name = str(plugin.get("name", ""))
    if "num_byzantine" in plugin or "num_byzantine" not in (option_names(members.find(name)) or []):
        return plugin
    untold = _built(plugin, members)
    if untold is not None and options_of(untold).get("num_byzantine", 0) is None:
        return plugin
    told = [{"num_byzantine": number, **plugin} for number in numbers]
    return next((one for one in told if _built(one, members) is not None), told[0])


def _built(plugin: dict[str, Any], members: Family[Any]) -> object | None:
    """Return the plug-in itself, or None where it refuses its options."""
    try:
        found: object = members.build(str(plugin["name"]), {k: v for k, v in plugin.items() if k != "name"})
    except PluginError:
        return None
    return found


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
    scenario: Scenario,
    out: Path | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
    only: Iterable[str] = (),
) -> tuple["pd.DataFrame", Path]:
    """Run every cell and return (the table, the folder that holds it as ``matrix.csv``, with heat maps).

    A cell that fails is left blank, with its reason; the others go on. So is one whose rule wants more
    clients than there are. With ``overwrite``, results that ``out`` holds are deleted once all is checked.
    ``only`` takes a part: conditions ``axis=value`` on defense, attack and share, see ``axes_of``.

    Raises:
        GauntletError: Whatever cannot run, in one line. Every cell is checked before the first one runs.
    """
    cells, todo = plan_matrix(scenario, only)
    spec = todo[0].scenario.run_spec()
    task = make_task(spec, make_data(spec))
    if not task.has_accuracy:
        raise ScenarioError(
            f"a matrix compares accuracies, and {task.facts.name} has {task.facts.labels}; sweep over "
            "attacks and defenses instead"
        )
    check_variants(todo, CohortError, progress)
    if overwrite and out is not None:
        remove(out)
    folder = out if out is not None else fresh_folder(RESULTS, f"{scenario.name}-matrix")
    with claimed(folder):  # the sweep's list comes last: with it, the folder can be resumed
        write_json(folder / "matrix.json", stored(cells))
        begin_sweep(todo, folder, scenario)
        return _finish(cells, todo, folder, scenario.runtime, progress or Silent())


def resume_matrix(
    folder: Path,
    progress: Progress | None = None,
    runtime: Runtime | None = None,
    consent: Consent = NO_CONSENT,
) -> tuple["pd.DataFrame", Path]:
    """Run every cell that is not complete, and draw the matrix again.

    Raises:
        ResultsError: The folder holds no matrix.
    """
    if not is_matrix(folder):
        raise ResultsError(f"{folder / 'matrix.json'} cannot be read: the folder holds no matrix")
    todo, runtime, consent = taken_up(folder, runtime, consent)
    cells = read_cells(folder, len(todo))
    with FolderLock(folder):
        return _finish(cells, todo, folder, runtime, progress or Silent(), consent)


def _finish(
    cells: Sequence[Cell],
    todo: Sequence[Variant],
    folder: Path,
    runtime: Runtime,
    progress: Progress,
    consent: Consent = NO_CONSENT,
) -> tuple["pd.DataFrame", Path]:
    from .plots import save
    from .plots.matrix import heat_maps, maps_of, numbers_of

    failures = run_variants(todo, folder, runtime, progress, consent)
    if len(failures) == len(todo):
        raise next(iter(failures.values()))
    table = matrix_table([_row(cell, folder, failures) for cell in cells])
    write_file(folder / "matrix.csv", table.to_csv(index=False, lineterminator="\n").encode())
    for name in maps_of(table):
        save(heat_maps(table, name), folder / "plots" / f"matrix-{name}.png", numbers_of(table, name))
    keep_report(folder, progress)
    return table, folder


def _row(cell: Cell, folder: Path, failures: dict[str, GauntletError]) -> dict[str, Any]:
    row: dict[str, Any] = asdict(cell)
    if cell.folder in failures:
        return row | {"reason": " ".join(str(failures[cell.folder]).split())}
    return row | cell_scores(Run(folder / cell.folder))
