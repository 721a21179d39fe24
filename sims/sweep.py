"""Run a scenario once for every combination of ``[sweep]``, several at a time on Ray."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from ..core.errors import GauntletError, ResultsError
from ..core.locks import FolderLock
from ..server.simulation import prepare
from .cells import place_of
from .families import family
from .folders import claimed, fresh_folder, remove
from .naming import plugin_label, short_keys
from .outside_code import code_of
from .overrides import PLUGIN_SECTIONS, change
from .ownership import distrusted, refuse_cluster, signature
from .plain import plugin_table
from .progress import Progress, Silent
from .provenance import NO_CONSENT, Consent, changed_code, refuse_absent, refuse_changes, versions
from .report.writing import keep_report
from .results import Run, check_keys, load_run, read_json, write_json
from .run import RESULTS, check_probes
from .scenario import Scenario, make_scenario
from .sections import Runtime

SCHEMA = 1
SILENT_SECONDS = 5.0


@dataclass(frozen=True)
class Variant:
    """One run of a sweep.

    Attributes:
        label: The swept values that it has, without the seed.
        folder: Its folder's name.
        scenario: What it runs.
    """

    label: str
    folder: str
    scenario: Scenario


def variants(scenario: Scenario) -> list[Variant]:
    """Return every combination of the swept values, the last key changing fastest.

    Raises:
        ScenarioError: A key that a scenario does not have, or a value that it does not take.
    """
    found = []
    keys = list(scenario.sweep)
    short = dict(zip(keys, short_keys(keys), strict=True))
    for number, values in enumerate(itertools.product(*scenario.sweep.values())):
        raw = scenario.values() | {"sweep": {}}
        for key, value in zip(keys, values, strict=True):
            raw = change(raw, key, value)
        one = make_scenario(raw, scenario.name).settled()
        told = zip(keys, values, strict=True)
        label = ", ".join(
            _told(short[key], value, scenario.sweep[key]) for key, value in told if key != "seed"
        )
        found.append(Variant(label, place_of(number), one))
    return found


def _told(key: str, value: Any, among: Sequence[Any]) -> str:
    """Return a swept value as a label says it: a plug-in by its name, anything else with its key."""
    if PLUGIN_SECTIONS.get(key) == "codecs":
        value, *among = (_with_inner(one) for one in (value, *among))
    short = plugin_label(value, among)
    return short if key in PLUGIN_SECTIONS else f"{key} = {short}"


def _with_inner(codec: Any) -> Any:
    """Return a built-in codec with the one that it is put around, also where that is its default."""
    table, members = plugin_table(codec), family("codecs")
    if not isinstance(table, Mapping) or table.get("name") not in members.table:
        return codec
    inner = getattr(members.find(table["name"]), "codec", None)
    return {"codec": inner, **table} if isinstance(inner, str) else codec


def sweep(scenario: Scenario, out: str | Path | None = None, progress: Progress | None = None) -> list[Run]:
    """Run every variant and return the runs in order; a scenario without ``[sweep]`` is one variant.

    Raises:
        GauntletError: Whatever cannot run, in one line. Every variant is checked before the first one runs.
    """
    todo = variants(scenario)
    check_variants(todo, progress=progress or Silent())
    folder = Path(out) if out is not None else fresh_folder(RESULTS, scenario.name)
    with claimed(folder):
        begin_sweep(todo, folder, scenario)
        return _run_all(todo, folder, scenario.runtime, progress or Silent(), NO_CONSENT)


def make_room(scenario: Scenario, folder: Path) -> None:
    """Delete the results that a folder holds, once the scenario that is to take their place is checked.

    Raises:
        GauntletError: A variant cannot run, or the folder holds something else: nothing is deleted.
    """
    for variant in variants(scenario):
        check_probes(variant.scenario, prepare(variant.scenario.run_spec()))
    remove(folder)


def check_variants(
    todo: Sequence[Variant],
    blank: type[GauntletError] | tuple[()] = (),
    progress: Progress | None = None,
) -> None:
    """Check every variant; what is ``blank`` is no reason to refuse the others, unless all variants are.

    ``progress`` is told every few seconds how many were.

    Raises:
        GauntletError: A variant that cannot run.
    """
    failures, told = [], monotonic()
    for number, variant in enumerate(todo):
        if progress is not None and monotonic() >= told + SILENT_SECONDS:
            progress.note(f"{number} of {len(todo)} runs checked")
            told = monotonic()
        try:
            check_probes(variant.scenario, prepare(variant.scenario.run_spec()))
        except blank as error:
            failures.append(error)
    if failures and len(failures) == len(todo):
        raise failures[0]


def begin_sweep(todo: Sequence[Variant], folder: Path, scenario: Scenario) -> None:
    """Write down in a folder what is to be run there.

    Raises:
        ResultsError: The disk is full or not writable.
    """
    listed = [{"folder": v.folder, "label": v.label, "scenario": v.scenario.values()} for v in todo]
    whole = {"schema": SCHEMA, "name": scenario.name, "sweep": scenario.sweep, "runs": listed}
    whole |= {"code": _code(todo), "versions": versions()}
    write_json(folder / "sweep.json", whole | {"signature": signature(whole)})


def read_sweep(folder: Path) -> list[Variant] | None:
    """Return the variants of a sweep's folder, or None where it holds no sweep.

    Raises:
        ResultsError: The list cannot be read, or names a folder that is none of a sweep's own.
    """
    path = folder / "sweep.json"
    if not path.is_file():
        return None
    listed = read_json(path, {"runs": list})
    if listed.get("schema", SCHEMA) != SCHEMA:
        raise ResultsError(f"{path} is of schema {listed['schema']!r:.40}, expected {SCHEMA}")
    runs = listed["runs"]
    if not runs:
        raise ResultsError(f"{path} cannot be read: it lists no run")
    found = []
    for number, run in enumerate(runs):
        if not isinstance(run, dict):
            raise ResultsError(f"{path} cannot be read: 'runs.{number}' is {run!r:.40}, expected a table")
        check_keys(path, run, {"label": str, "folder": str, "scenario": dict}, f"runs.{number}.")
        _check_place(path, number, run["folder"])
        found.append(Variant(run["label"], run["folder"], make_scenario(run["scenario"], str(path))))
    return found


def _check_place(path: Path, number: int, name: str) -> None:
    """Raise ``ResultsError`` unless a run's folder is the one that its place in a sweep's list gives it."""
    if name != place_of(number):
        raise ResultsError(
            f"{path} cannot be read: 'runs.{number}.folder' is {name!r:.60}, expected '{place_of(number)}'"
        )
    if (path.parent / name).is_symlink():
        raise ResultsError(f"{path.parent / name} is a link; a sweep's runs stand in folders of its own")


def resume_sweep(
    folder: Path,
    progress: Progress | None = None,
    runtime: Runtime | None = None,
    consent: Consent = NO_CONSENT,
) -> list[Run]:
    """Finish every run of a sweep that is not complete.

    Raises:
        ResultsError: The folder holds no sweep, another process runs it, or code or versions have changed.
        PluginError: The folder is of others, and names code from outside the package.
    """
    todo, runtime, consent = taken_up(folder, runtime, consent)
    with FolderLock(folder):
        return _run_all(todo, folder, runtime, progress or Silent(), consent)


def taken_up(
    folder: Path, runtime: Runtime | None, consent: Consent
) -> tuple[list[Variant], Runtime, Consent]:
    """Return a sweep's variants, where they run, and what holds for those that are not begun.

    Raises:
        ResultsError: The folder holds no sweep; code or versions have changed, and nobody accepted that; or
            it is of others, and names a Ray cluster.
    """
    todo, path = read_sweep(folder), folder / "sweep.json"
    if todo is None:
        raise ResultsError(f"{folder} holds no sweep (no sweep.json)")
    listed, stored = read_json(path, {"runs": list}), todo[0].scenario.runtime
    why = distrusted(folder, listed, consent.allow_code)
    refuse_cluster(stored, runtime or stored, why)
    for variant in todo:
        refuse_absent(folder, variant.scenario.values())
    now = _code(todo)
    changed = changed_code(listed, now)
    refuse_changes(folder, changed, consent)
    if changed:
        change = {"changed": changed, "code": now, "versions": versions()}
        listed |= {"changes": [*listed.get("changes", ()), change]}
        write_json(path, listed | {"signature": signature(listed)})
    return todo, runtime or stored, replace(consent, distrust=why)


def _code(todo: Sequence[Variant]) -> dict[str, str]:
    """Return the hashes of the sources from outside that any of the variants names."""
    return {name: value for v in todo for name, value in code_of(v.scenario.values()).items()}


def load_runs(folders: Sequence[str | Path]) -> list[Run]:
    """Return the runs in the folders, each a run or a sweep.

    Raises:
        ResultsError: A folder holds neither.
    """
    paths, runs = [Path(folder) for folder in folders], list[Run]()
    names = [path.resolve().name for path in paths]
    for path, name in zip(paths, names, strict=True):
        swept = read_sweep(path)
        found = [load_run(path)] if swept is None else [_begun(path, v) for v in swept]
        origin = name if names.count(name) == 1 else str(path)
        runs += [replace(run, origin=origin) for run in found] if len(paths) > 1 else found
    return runs


def _begun(folder: Path, variant: Variant) -> Run:
    if not (folder / variant.folder).exists():
        raise ResultsError(
            f"{folder / variant.folder} has not begun; 'gauntlet resume {folder}' goes on with it"
        )
    return load_run(folder / variant.folder)


def _run_all(
    todo: Sequence[Variant], folder: Path, runtime: Runtime, progress: Progress, consent: Consent
) -> list[Run]:
    from .sweep_runs import run_variants

    failures = run_variants(todo, folder, runtime, progress, consent)
    keep_report(folder, progress)
    if failures:
        raise next(iter(failures.values()))
    return [load_run(folder / v.folder) for v in todo]
