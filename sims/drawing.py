"""``gauntlet plot``: what is asked for, checked, drawn and saved."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.errors import ScenarioError
from .plots import PLOTS, SETS, draw_set, draw_to, find, refusal, save, taking
from .plots.look import Look, drawn_as
from .rebuilt_rows import write_rebuilt_rows
from .results import Run
from .terminal import readable, say

MATRIX = "matrix"
"""What ``gauntlet plot`` calls the heat maps of a matrix's folder."""


def check_plot(
    name: str,
    by: str | None,
    out: Path | None,
    kind: str | None = None,
    band: str | None = None,
    value: str | None = None,
) -> None:
    """Look at what ``gauntlet plot`` is asked for, before any result is read.

    Raises:
        ScenarioError: No such plot, several plots with an option for one, or a picture's name that ends
            otherwise than the kind that is asked for.
    """
    if out is not None and kind is not None and out.suffix.lower() != f".{kind}":
        raise ScenarioError(f"--format {kind} does not go with --out '{out}'; give one of the two")
    several = name in ("all", MATRIX, *SETS)
    if not several:
        _check_options(name, by, band)
    elif by is not None:
        raise ScenarioError(refusal(f"'{name}' draws several plots and", "by"))
    if name == MATRIX and band is not None:
        raise ScenarioError(refusal(f"'{name}' draws several plots and", "band"))
    if value is not None and name != MATRIX:
        raise ScenarioError(f"the plot '{name}' takes no 'value'; plots that take it: {MATRIX}")
    if name == "all" and out is not None:
        raise ScenarioError(
            f"'all' draws several plots beside the results and takes no --out, got '{out}'; "
            f"one plot takes it, and {', '.join(SETS)}"
        )


def _check_options(name: str, by: str | None, band: str | None) -> None:
    """Raise ``ScenarioError`` where there is no such plot, or it does not take an option that is given."""
    find(name)
    for option, value in (("by", by), ("band", band)):
        if value is not None and name not in taking(option):
            raise ScenarioError(refusal(f"the plot '{name}'", option))


def draw_results(
    name: str,
    runs: list[Run],
    folder: Path,
    out: Path | None,
    kind: str | None = None,
    look: Look | None = None,
    **options: Any,
) -> None:
    """Draw a plot, a set of plots or all that these runs allow, and say where.

    Args:
        name: A plot, a set of them, or ``"all"``.
        runs: What to draw.
        folder: Where pictures go that ``out`` gives no place.
        out: The picture; of a set, what its pictures' names begin with.
        kind: ``"png"``, ``"pdf"`` or ``"svg"``, where ``out`` does not say it; by default PNG, of a set PDF
            too.
        look: How they are to look.
        options: The plot's own, such as ``by``; of several plots for those that take them.
    """
    from .plots.base import noting

    if look is not None and (name == "all" or name in SETS):
        look = replace(look, had=set())
    with noting() as left_out:
        if name == "all":
            draw_all(runs, folder, kind or "png", look, **options)
        elif name in SETS:
            for path in draw_set(SETS[name], runs, _places(folder / "all.png", out, kind), look, **options):
                say(path)
        else:
            say(draw_to(out or folder / f"{name}.{kind or 'png'}", name, runs, look, **options))
    for note in left_out:
        print(readable(f"note: {note} The CSV holds the same."), file=sys.stderr)
    if look is not None:
        look.refuse_lacking()


def _places(base: Path, out: Path | None, kind: str | None) -> Any:
    """Return where each of several pictures goes, by its plot's name."""
    base = out or base
    kinds = [out.suffix] if out else [f".{kind}"] if kind else [".png", ".pdf"]
    stem = f"{out.stem}-" if out else ""
    return lambda name: [base.with_name(f"{stem}{name}{suffix}") for suffix in kinds]


def draw_all(
    runs: list[Run], folder: Path, kind: str = "png", look: Look | None = None, **options: Any
) -> None:
    """Draw whatever these runs allow, and say where."""
    with drawn_as(look or Look()):
        pass  # a style that there is not is no plot that these runs do not allow
    drawn = []
    for name in PLOTS:
        own = {key: value for key, value in options.items() if name in taking(key)}
        try:
            drawn.append(draw_to(folder / f"{name}.{kind}", name, runs, look, **own).name)
        except ScenarioError:
            continue
    drawn += [rows] if (rows := write_rebuilt_rows(runs, folder)) else []
    say(f"Results in {folder.parent}; plots in {folder}: {', '.join(drawn)}")


def draw_matrix(
    folders: Sequence[Path],
    out: Path | None,
    kind: str | None,
    look: Look | None,
    only: Sequence[str] = (),
    value: str | None = None,
) -> None:
    """Draw the heat maps of a matrix's folder again, and say where.

    Args:
        folders: The matrix's, alone.
        out: What the pictures' names begin with.
        kind: As in ``draw_results``.
        look: How they are to look.
        only: Conditions on the fields that are drawn, see ``only_fields``.
        value: The column that is drawn; None: every map that the table has numbers for.

    Raises:
        ResultsError: The folder holds no table of a matrix that can be read.
        ScenarioError: Several folders, a condition that leaves nothing, or a column without a map.
    """
    from .matrix_file import only_fields, read_matrix
    from .plots.look import finish
    from .plots.matrix import heat_maps, maps_of, numbers_of

    if len(folders) > 1:
        raise ScenarioError(f"a matrix is drawn alone, got {len(folders)} folders; name the one of a matrix")
    look = replace(look or Look(), had=set())
    table = only_fields(read_matrix(folders[0]), only)
    places = _places(folders[0] / "plots" / "all.png", out, kind or (None if out else "png"))
    for name in maps_of(table, value):
        with drawn_as(look):
            figure, data = finish(heat_maps(table, name), numbers_of(table, name), look)
        for path in places(f"matrix-{name}"):
            say(save(figure, path, data, look))
    look.refuse_lacking()
