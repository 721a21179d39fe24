"""What a command does on the terminal: run with a progress display, then print and draw the results."""

from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import ScenarioError
from ..server.simulation import prepare
from .folders import remove
from .matrix_table import print_matrix
from .plots import PLOTS, SETS, draw_set, draw_to, find, refusal
from .progress import Progress, Silent, on_terminal
from .results import Run
from .run import check_probes, simulate
from .scenario import Scenario
from .sections import Runtime
from .summary import print_summary

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
    from .sweep import sweep, variants

    join_cluster(scenario.runtime)
    if overwrite and out:
        for variant in variants(scenario):
            simulation = prepare(variant.scenario.run_spec())  # refused here, it costs no results
            check_probes(variant.scenario, simulation)
        remove(out)
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
        print(f"All of it on one page: {page}")


def show_matrix(table: "pd.DataFrame", folder: Path) -> None:
    """Print a matrix, and say where it is kept and drawn.

    Raises:
        ScenarioError: Some of its fields failed.
    """
    print_matrix(table)
    drawn = ", ".join(sorted(path.name for path in (folder / "plots").glob("matrix-*.png")))
    print(f"Table in {folder / 'matrix.csv'}; plots in {folder / 'plots'}: {drawn}")
    _say_page(folder)
    if "reason" in table and table["reason"].notna().any():
        failed = table[table["reason"].notna()]
        one = failed.iloc[0]
        raise ScenarioError(
            f"{len(failed)} fields of the matrix failed and are blank; the first, {one['attack']} "
            f"{100 * one['share']:g} % against {one['defense']}: {one['reason']}"
        )


def check_plot(name: str, by: str | None, out: Path | None, kind: str | None = None) -> None:
    """Look at what ``gauntlet plot`` is asked for, before any result is read.

    Raises:
        ScenarioError: No such plot, several plots with an option for one, or a picture's name that ends
            otherwise than the kind that is asked for.
    """
    if out is not None and kind is not None and out.suffix.lower() != f".{kind}":
        raise ScenarioError(f"--format {kind} does not go with --out '{out}'; give one of the two")
    several = name == "all" or name in SETS
    if not several:
        find(name)
    elif by is not None:
        raise ScenarioError(refusal(f"'{name}' draws several plots and", "by"))
    if name == "all" and out is not None:
        raise ScenarioError(
            f"'all' draws several plots beside the results and takes no --out, got '{out}'; "
            f"one plot takes it, and {', '.join(SETS)}"
        )


def draw_results(
    name: str, runs: list[Run], folder: Path, by: str | None, out: Path | None, kind: str | None = None
) -> None:
    """Draw a plot, a set of plots or all that these runs allow, and say where.

    Args:
        name: A plot, a set of them, or ``"all"``.
        runs: What to draw.
        folder: Where pictures go that ``out`` gives no place.
        by: The x axis, where the plot has a choice.
        out: The picture; of a set, what its pictures' names begin with.
        kind: ``"png"``, ``"pdf"`` or ``"svg"``, where ``out`` does not say it; by default PNG, of a set PDF
            too.
    """
    if name == "all":
        draw_all(runs, folder, kind or "png")
    elif name in SETS:
        base = out or folder / "all.png"
        kinds = [out.suffix] if out else [f".{kind}"] if kind else [".png", ".pdf"]
        stem = f"{out.stem}-" if out else ""
        for path in draw_set(SETS[name], runs, lambda n: [base.with_name(f"{stem}{n}{k}") for k in kinds]):
            print(path)
    else:
        options = {} if by is None else {"by": by}
        print(draw_to(out or folder / f"{name}.{kind or 'png'}", name, runs, **options))


def draw_all(runs: list[Run], folder: Path, kind: str = "png") -> None:
    """Draw whatever these runs allow, and say where."""
    drawn = []
    for name in PLOTS:
        try:
            drawn.append(draw_to(folder / f"{name}.{kind}", name, runs).name)
        except ScenarioError:
            continue
    print(f"Results in {folder.parent}; plots in {folder}: {', '.join(drawn)}")
