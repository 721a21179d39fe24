"""What a page is made of: result folders, looked at before anything of them is shown.

Nothing in a folder is trusted: a table must have the columns that runs write, of their kinds. A run that
goes on, or that has not begun, is no error.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ...core.errors import GauntletError, ResultsError
from ..cells import is_matrix
from ..naming import run_names
from ..records import CLIENTS, ROUNDS
from ..results import FINISHED, Run, load_run

if TYPE_CHECKING:
    import pandas as pd

LONGEST = 2_000  # letters of a run's name
_OF_CLIENTS = ("round", "client_id", "truth", "flag", "status", "score")


@dataclass(frozen=True)
class Findings:
    """Everything that one page shows.

    Attributes:
        title: What the page is called.
        kind: ``"run"``, ``"sweep"``, ``"matrix"`` or ``"comparison"``.
        runs: The runs that have a finished round, in order.
        links: Of each, where its own page would be, as seen from this one; empty where there is none.
        missing: What cannot be shown, one line each.
        folder: What the page is of, where that is one folder.
    """

    title: str
    kind: str
    runs: list[Run]
    links: list[str]
    missing: list[str]
    folder: Path | None = None


def read(folders: Sequence[Path], apart: bool = False) -> Findings:
    """Return what the folders hold, each a run, a sweep or a matrix.

    Args:
        folders: At least one.
        apart: Whether the page lies outside the folders, so that no link leads to the runs' own pages.

    Raises:
        ResultsError: A folder holds none of them, a run would be shown twice, or a table is none of a run's.
    """
    found, missing = list[tuple[Run, str]](), list[str]()
    names = [folder.resolve().name for folder in folders]
    for folder, name in zip(folders, names, strict=True):
        origin = "" if len(folders) == 1 else name if names.count(name) == 1 else str(folder)
        inside, absent = _inside(folder)
        found += [(replace(run, origin=origin), link) for run, link in inside]
        missing += absent
    _refuse_twice([run for run, _ in found])
    shown = [(run, link) for run, link in found if _begun(run, missing)]
    _refuse_long(run_names([run for run, _ in shown]))
    kind = _kind(folders)
    runs, several = [run for run, _ in shown], len(folders) > 1 or apart or kind == "run"
    links = ["" if several else link for _, link in shown]
    title = " and ".join(names) if len(names) < 4 else f"{len(names)} result folders"
    return Findings(title, kind, runs, links, missing, folders[0] if len(folders) == 1 else None)


def _refuse_twice(runs: Sequence[Run]) -> None:
    """Refuse a run whose folder was named twice, or once alone and once as a part of its sweep."""
    seen = set[Path]()
    for run in runs:
        if (place := run.folder.resolve()) in seen:
            raise ResultsError(f"{run.folder} would be shown twice; name each result folder once")
        seen.add(place)


def _refuse_long(names: Sequence[str]) -> None:
    """Refuse names that stand beside every number of a run and would fill memory and page."""
    longest = max(map(len, names), default=0)
    if longest > LONGEST:
        raise ResultsError(f"a run's name has {longest} letters; a page takes up to {LONGEST}")


def _kind(folders: Sequence[Path]) -> str:
    if len(folders) > 1:
        return "comparison"
    swept = (folders[0] / "sweep.json").is_file()
    return "matrix" if is_matrix(folders[0]) and swept else "sweep" if swept else "run"


def _inside(folder: Path) -> tuple[list[tuple[Run, str]], list[str]]:
    """Return the runs of a folder, each with the place of its own page, and what is not there."""
    from ..sweep import read_sweep

    swept = read_sweep(folder)
    if swept is None:
        return [(load_run(folder), "")], []
    runs, missing = [], []
    for variant in swept:
        place = folder / variant.folder
        if (place / "manifest.json").is_file():
            link = f"{variant.folder}/report.html" if (place / "report.html").is_file() else ""
            runs.append((load_run(place), link))
        else:
            missing.append(f"{variant.folder} ({variant.label}) has not begun")
    return runs, missing


def _begun(run: Run, missing: list[str]) -> bool:
    """Return whether a run has a round to show, after a look at its tables; else ``missing`` says so."""
    try:
        rounds = run.rounds
    except ResultsError:
        if run.manifest["status"] in FINISHED:
            raise
        missing.append(f"{run.folder.name} has no round on disk yet")
        return False
    check_columns(run, "rounds", rounds, ROUNDS, ["round", *_metrics(run)])
    check_columns(run, "clients", run.clients, CLIENTS, _OF_CLIENTS)
    if rounds.empty:
        missing.append(f"{run.folder.name} has no finished round")
    return not rounds.empty


def _metrics(run: Run) -> list[str]:
    named = run.manifest.get("metrics", [])
    if not (isinstance(named, list) and all(isinstance(name, str) for name in named)):
        raise ResultsError(f"{run.folder}/manifest.json cannot be read: 'metrics' is {named!r:.40}")
    return named


def check_columns(
    run: Run, name: str, found: "pd.DataFrame", schema: pa.Schema, needed: Iterable[str]
) -> None:
    """Raise ``ResultsError`` unless a table has the columns that are needed, and known ones of their kind."""
    absent = [column for column in needed if column not in found]
    if absent:
        raise ResultsError(f"{run.folder / name}.parquet cannot be read: it has no column '{absent[0]}'")
    kinds = dict(found.dtypes)
    for field in schema:
        words = pa.types.is_string(field.type)
        if field.name in kinds and not _fits(found[field.name], kinds[field.name], words):
            expected = "words" if words else "numbers"
            raise ResultsError(
                f"{run.folder / name}.parquet cannot be read: '{field.name}' does not hold {expected}"
            )


def _fits(values: "pd.Series", kind: Any, words: bool) -> bool:
    """Return whether a column holds words, or numbers, where it holds anything."""
    if kind.kind in "biuf" and not words:
        return True
    known = values.dropna()
    held = str if words else (bool, int, float, np.number)
    return all(isinstance(value, held) for value in known)


def column(frame: "pd.DataFrame", name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a column as numbers, NaN where there is none."""
    if name not in frame:
        return np.full(len(frame), np.nan)
    return np.asarray(frame[name], dtype=float)


def table_of(path: Path) -> "pd.DataFrame | None":
    """Return a matrix's table, or None where it is not written yet.

    Raises:
        ResultsError: It cannot be read.
    """
    import pandas as pd

    if not path.is_file():
        return None
    try:
        found = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} cannot be read: {error}") from error
    for name in ("defense", "share", "attack"):
        if name not in found:
            raise ResultsError(f"{path} cannot be read: it has no column '{name}'")
    return found


def state_of(folder: Path) -> str:
    """Return in one word how far a folder is, for somebody who waits for it."""
    from ..sweep import read_sweep

    try:
        if (swept := read_sweep(folder)) is None:
            return str(load_run(folder).manifest["status"])
        states = {
            load_run(folder / v.folder).manifest["status"]
            if (folder / v.folder / "manifest.json").is_file()
            else "waiting"
            for v in swept
        }
    except GauntletError:
        return "unreadable"
    return "complete" if states <= set(FINISHED) else "running" if "running" in states else "stopped"


def planned(folder: Path, runs: Sequence[Run]) -> int:
    """Return how many rounds a folder's runs will have in all; 0 where that is not known."""
    from ..sweep import read_sweep

    try:
        swept = read_sweep(folder)
    except GauntletError:
        return 0
    if swept is not None:
        return sum(variant.scenario.rounds for variant in swept)
    told = [run.manifest["scenario"].get("rounds") for run in runs]
    return sum(rounds for rounds in told if isinstance(rounds, int))
