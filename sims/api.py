"""What ``import gauntlet`` offers: run, sweep, cross, attack, take up, load and draw, from Python.

The command line's own functions stand behind them; here scenarios may be named, progress shows itself in a
notebook, callbacks see every round, and results show themselves as HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ResultsError, ScenarioError
from . import run as single
from .callbacks import Callback, CalledBack
from .handed import callbacks_of, crossed_of, list_of, path_of, progress_of
from .live_data import hold_again
from .live_values import plain_values
from .notebook import Cells, in_notebook
from .progress import Progress, Silent, on_terminal
from .results import Run
from .scenario import Scenario, load_scenario, make_scenario
from .sweep_result import Sweep

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from .matrix_result import MatrixResult

Named = Scenario | str | Path
Results = Run | Sweep | str | Path


def simulate(
    scenario: Named,
    out: str | Path | None = None,
    progress: Progress | bool | None = None,
    callbacks: Iterable[Callback] = (),
    *,
    overwrite: bool = False,
) -> Run:
    """Run a scenario without ``[sweep]`` and return its results.

    Args:
        scenario: A scenario, a shipped one's name, or a TOML file.
        out: The result folder; by default a fresh one under ``results``.
        progress: True shows bars or lines, False nothing; by default they are shown in a notebook alone.
        callbacks: Each is called with every round's row, a dictionary with the columns of ``Run.rounds`` and
            ``run``, the run's label. What one raises stops the run, which can be resumed.
        overwrite: Whether results that ``out`` holds are deleted, once the scenario is checked.

    Raises:
        GauntletError: Whatever cannot run, in one line. Nothing is written before the scenario is checked.
    """
    with _shown(progress, callbacks) as told:
        found = _scenario(scenario)
        return single.simulate(found, _room(found, out, overwrite), told)


def sweep(
    scenario: Named,
    out: str | Path | None = None,
    progress: Progress | bool | None = None,
    callbacks: Iterable[Callback] = (),
    *,
    over: Mapping[str, Sequence[Any]] | None = None,
    overwrite: bool = False,
) -> Sweep:
    """Run every combination of the scenario's ``sweep``, and of ``over``'s values by their keys.

    Other arguments as of ``simulate``. Values may be live objects.

    Raises:
        GauntletError: Whatever cannot run, in one line. Every variant is checked before the first one runs.
    """
    from .sweep import sweep as run_sweep

    found = _scenario(scenario)
    told = {
        key: plain_values(values, key) for key, values in crossed_of({} if over is None else over).items()
    }
    crossed = {**found.sweep, **told}
    whole = make_scenario(found.values() | {"sweep": crossed}, found.name)
    with _shown(progress, callbacks) as watching:
        return Sweep(run_sweep(whole, _room(whole, out, overwrite), watching))


def matrix(
    scenario: Named,
    attacks: Sequence[Any] | None = None,
    defenses: Sequence[Any] | None = None,
    shares: Sequence[float] | None = None,
    seeds: Sequence[int] | None = None,
    out: str | Path | None = None,
    progress: Progress | bool | None = None,
    callbacks: Iterable[Callback] = (),
    *,
    overwrite: bool = False,
    only: Iterable[str] = (),
) -> MatrixResult:
    """Cross attacks, defenses and shares of malicious clients; by default those of the scenario's ``matrix``.

    Other arguments as of ``simulate``. Attacks and defenses may be live objects. ``only`` takes a part, such
    as ``["defense=median", "attack=alie"]``.

    Raises:
        GauntletError: Whatever cannot run, in one line. Every cell is checked before the first one runs.
    """
    from .matrix import run_matrix
    from .matrix_result import MatrixResult

    found = _scenario(scenario)
    said = {"attacks": attacks, "defenses": defenses, "shares": shares, "seeds": seeds}
    axes = {key: plain_values(list_of(values, key)) for key, values in said.items() if values is not None}
    crossed = found.matrix.model_dump(mode="json") | axes
    whole = make_scenario(found.values() | {"matrix": crossed}, found.name)
    with _shown(progress, callbacks) as told:
        return MatrixResult(*run_matrix(whole, _out(out), told, overwrite, only))


def resume(
    folder: str | Path,
    objects: Iterable[Any] = (),
    progress: Progress | bool | None = None,
    callbacks: Iterable[Callback] = (),
    *,
    allow_code: bool = False,
    accept_changes: bool = False,
) -> Run | Sweep | MatrixResult:
    """Take up an unfinished run, sweep or matrix: the same bits as if it had never stopped.

    Args:
        folder: Its result folder.
        objects: The live objects of its scenario (or their classes), where it was made of some; arrays as
            ``(x, y)``. They are held from here on.
        progress: See ``simulate``.
        callbacks: See ``simulate``; they are called for the rounds that are left.
        allow_code: Load code from outside the package that a folder of others names.
        accept_changes: Go on although code, versions or data have changed.

    Raises:
        GauntletError: The folder cannot be taken up, in one line.
    """
    from .cells import is_matrix
    from .matrix import resume_matrix
    from .matrix_result import MatrixResult
    from .provenance import Consent
    from .sweep import read_sweep, resume_sweep

    plain_values([one for one in list_of(objects, "objects") if not hold_again(one)])
    folder, consent = path_of(folder, "folder"), Consent(allow_code, accept_changes)
    with _shown(progress, callbacks) as told:
        if is_matrix(folder):
            return MatrixResult(*resume_matrix(folder, told, None, consent))
        if read_sweep(folder) is not None:
            return Sweep(resume_sweep(folder, told, None, consent))
        return single.resume(folder, told, consent=consent)


def load_sweep(folder: str | Path) -> Sweep:
    """Return the runs of a sweep or a matrix.

    Raises:
        ResultsError: The folder holds neither, or one of its runs has not begun.
    """
    from .sweep import load_runs, read_sweep

    place = path_of(folder, "folder")
    if read_sweep(place) is None:
        raise ResultsError(f"{place} holds no sweep (no sweep.json)")
    return Sweep(load_runs([place]))


def attack(
    results: Results | Sequence[Results], *attacks: Any, pool: str = "serial", allow_code: bool = False
) -> pd.DataFrame:
    """Attack what the probes of finished runs recorded, as ``gauntlet attack`` does; results are kept there.

    Args:
        results: Runs, sweeps or result folders.
        attacks: Names, tables of a name and options, or live objects.
        pool: Where they run: ``"serial"`` or ``"ray"``.
        allow_code: See ``resume``.

    Returns:
        One row a message and attack: ``run``, ``rounds``, ``client``, ``attack``, ``told`` (the SoK's
        letter), ``refused`` (why it cannot attack that); of pictures ``psnr_mean``, ``psnr_best`` and so on.

    Raises:
        GauntletError: No attack is named, none accepts any message, or nothing was recorded.
    """
    from .attacked_table import attacked_table, specs_of

    if not attacks:
        raise ScenarioError("name an attack: a name, a table of name and options, or an object")
    return attacked_table([str(path) for path in _folders(results)], specs_of(attacks), pool, allow_code)


def plot(
    name: str, results: Results | Sequence[Results], by: str | None = None, out: str | Path | None = None
) -> Figure:
    """Return one of the plots that ``gauntlet plot`` draws.

    Args:
        name: The plot's name.
        results: Runs, sweeps or result folders.
        by: The x axis, where the plot has a choice.
        out: A file to write too, .png, .pdf or .svg; the numbers behind it stand beside it as CSV.

    Raises:
        ScenarioError: No such plot, or the runs hold nothing to draw.
    """
    from .plots import draw, draw_to
    from .sweep import load_runs

    runs = load_runs(_folders(results))
    options = {} if by is None else {"by": by}
    if out is not None:
        draw_to(path_of(out, "out"), name, runs, None, **options)
    return draw(name, runs, None, **options)


def _folders(results: Results | Sequence[Results]) -> list[Path]:
    if isinstance(results, Run):
        return [results.folder]
    if isinstance(results, str | Path):
        return [Path(results)]
    return [folder for one in list_of(results, "results") for folder in _folders(one)]


def _scenario(named: Named) -> Scenario:
    return named if isinstance(named, Scenario) else load_scenario(named)


def _room(scenario: Scenario, out: str | Path | None, overwrite: bool) -> Path | None:
    """Return the result folder, with room for new results where the old ones may go."""
    from .sweep import make_room

    folder = _out(out)
    if overwrite and folder is not None:
        make_room(scenario, folder)
    return folder


def _out(out: str | Path | None) -> Path | None:
    return None if out is None else path_of(out, "out")


@contextmanager
def _shown(progress: Progress | bool | None, callbacks: Iterable[Callback]) -> Iterator[Progress]:
    """Show how runs go on, to a person and to callbacks."""
    told: Progress
    called, progress = callbacks_of(callbacks), progress_of(progress)
    if progress is None or isinstance(progress, bool):
        wanted = in_notebook() if progress is None else progress
        told = Silent() if not wanted else Cells() if in_notebook() else on_terminal()
    else:
        told = progress
    try:
        yield CalledBack(told, called) if called else told
    finally:
        if told is not progress:
            told.close()
