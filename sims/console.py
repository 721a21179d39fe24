"""What a command does on the terminal: run with a progress display, then print and draw the results."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import ScenarioError
from .drawing import draw_all
from .matrix_table import print_matrix
from .progress import Progress, Silent, on_terminal
from .results import Run
from .run import simulate
from .scenario import Scenario
from .sections import Runtime
from .summary import print_summary
from .sweep import make_room, sweep
from .terminal import say

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
    join_cluster(scenario.runtime)
    if overwrite and out:
        make_room(scenario, out)
    progress = progress_of(quiet)
    try:
        several = bool(scenario.sweep)
        runs = sweep(scenario, out, progress) if several else [simulate(scenario, out, progress)]
    finally:
        progress.close()
    show_results(runs, runs[0].folder.parent if several else runs[0].folder)


def join_cluster(runtime: Runtime) -> None:
    """Join the Ray cluster that is named, if one is, before any folder is made.

    Raises:
        WorkerError: There is none at that address.
    """
    from ..clients.pools.ray import cluster, start_ray

    if runtime.pool == "ray" and cluster(runtime.ray_address):
        start_ray(runtime.ray_address, runtime.num_workers)


def show_results(runs: list[Run], folder: Path) -> None:
    """Print the runs' summary, and draw them into ``folder``."""
    print_summary(runs)
    draw_all(runs, folder / "plots")
    _say_page(folder)


def _say_page(folder: Path) -> None:
    page = folder / "report.html"
    if page.is_file():
        say(f"All of it on one page: {page}")


def show_matrix(table: "pd.DataFrame", folder: Path) -> None:
    """Print a matrix, and say where it is kept and drawn.

    Raises:
        ScenarioError: Some of its fields failed.
    """
    print_matrix(table)
    drawn = ", ".join(sorted(path.name for path in (folder / "plots").glob("matrix-*.png")))
    say(f"Table in {folder / 'matrix.csv'}; plots in {folder / 'plots'}: {drawn}")
    _say_page(folder)
    if "reason" in table and table["reason"].notna().any():
        failed = table[table["reason"].notna()]
        one = failed.iloc[0]
        raise ScenarioError(
            f"{len(failed)} fields of the matrix failed and are blank; the first, {one['attack']} "
            f"{100 * one['share']:g} % against {one['defense']}: {one['reason']}"
        )
