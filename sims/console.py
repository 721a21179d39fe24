"""What a command does on the terminal: run with a progress display, then print and draw the results."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import ScenarioError
from .matrix_table import print_matrix
from .plots import PLOTS, draw_to
from .progress import Progress, Silent, on_terminal
from .results import Run, fresh_folder, remove
from .run import RESULTS, simulate
from .scenario import Scenario
from .summary import print_summary
from .sweep import sweep

if TYPE_CHECKING:
    import pandas as pd


def progress_of(quiet: bool) -> Progress:
    """Return the terminal's progress display, or none."""
    return Silent() if quiet else on_terminal()


def run_and_show(scenario: Scenario, out: Path | None, overwrite: bool, quiet: bool) -> None:
    """Run a scenario, or every variant of it, and show the results.

    Args:
        scenario: What to run.
        out: The result folder; None for a fresh one.
        overwrite: Whether the results that ``out`` holds are deleted first.
        quiet: Whether nothing but the results is printed.
    """
    folder = out or fresh_folder(RESULTS, scenario.name)
    if overwrite and out:
        remove(out)
    progress = progress_of(quiet)
    try:
        several = bool(scenario.sweep)
        runs = sweep(scenario, folder, progress) if several else [simulate(scenario, folder, progress)]
    finally:
        progress.close()
    show_results(runs, folder)


def show_results(runs: list[Run], folder: Path) -> None:
    """Print the runs' summary, and draw them into ``folder``."""
    print_summary(runs)
    draw_all(runs, folder / "plots")


def show_matrix(table: "pd.DataFrame", folder: Path) -> None:
    """Print a matrix, and say where it is kept and drawn.

    Raises:
        ScenarioError: Some of its fields failed.
    """
    print_matrix(table)
    drawn = ", ".join(sorted(path.name for path in (folder / "plots").glob("matrix-*.png")))
    print(f"Table in {folder / 'matrix.csv'}; plots in {folder / 'plots'}: {drawn}")
    if "reason" in table and table["reason"].notna().any():
        failed = table[table["reason"].notna()]
        one = failed.iloc[0]
        raise ScenarioError(
            f"{len(failed)} fields of the matrix failed and are blank; the first, {one['attack']} "
            f"{100 * one['share']:g} % against {one['defense']}: {one['reason']}"
        )


def draw_all(runs: list[Run], folder: Path) -> None:
    """Draw whatever these runs allow, and say where."""
    drawn = []
    for name in PLOTS:
        try:
            drawn.append(draw_to(folder / f"{name}.png", name, runs).name)
        except ScenarioError:
            continue
    print(f"Results in {folder.parent}; plots in {folder}: {', '.join(drawn)}")
