"""The command line. Every command imports what it needs when it runs, so that help is instant."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
import typer.core

from . import signals
from .arguments import (
    Address,
    Band,
    Name,
    Out,
    Overwrite,
    Picture,
    PoolOption,
    Quiet,
    Set,
    Workers,
    placed,
    runtime_of,
)
from .attack_command import attack
from .codec_command import codecs
from .completion import pictures
from .exits import run_command
from .pages_command import docs
from .plugin_commands import check_plugin, data, doctor, explain, list_, new, show
from .report.command import report
from .table_command import table
from .ui.command import ui

typer.core.HAS_RICH = False  # with Rich, Typer 0.20 prints "\[required]" even in plain help

app = typer.Typer(
    name="gauntlet",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(asked: bool) -> None:
    if asked:
        from ..core.version import VERSION

        print(f"gauntlet {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Federated learning in which every client update runs the gauntlet."""


def main() -> None:
    """Run the command line: exit code 2 and one line for whatever is wrong with the input."""
    sys.path.append(os.getcwd())  # so that "module:Class" finds a module of the user's folder
    with signals.caught():
        run_command(app)


@app.command()
def run(
    scenario: Name,
    set_: Set = None,
    out: Out = None,
    overwrite: Overwrite = False,
    pool: PoolOption = None,
    workers: Workers = None,
    ray_address: Address = None,
    quiet: Quiet = False,
) -> None:
    """Run a scenario (every variant of it, if it has a [sweep]), then print and draw its results."""
    from .console import run_and_show
    from .overrides import check_swept
    from .scenario import load_scenario

    found = load_scenario(scenario, set_ or ())
    check_swept(set_ or (), found.sweep)
    run_and_show(placed(found, pool, workers, ray_address), out, overwrite, quiet)


@app.command()
def sweep(
    scenario: Name,
    over: Annotated[
        list[str] | None,
        typer.Option("--over", metavar="KEY=[VALUES]", help="Values to cross: seed=[1,2,3]. Repeatable."),
    ] = None,
    set_: Set = None,
    out: Out = None,
    overwrite: Overwrite = False,
    pool: PoolOption = None,
    workers: Workers = None,
    ray_address: Address = None,
    quiet: Quiet = False,
) -> None:
    """Run a scenario for every combination of values, several runs at a time."""
    from ..core.errors import ScenarioError
    from .console import run_and_show
    from .overrides import check_swept, parse_over
    from .scenario import load_scenario, make_scenario

    found = load_scenario(scenario, set_ or ())
    said = parse_over(over or ())
    crossed = found.sweep | said
    if not crossed:
        raise ScenarioError(f"'{found.name}' has no [sweep]; name values with --over KEY=[VALUE, ...]")
    check_swept(set_ or (), crossed, said)
    whole = make_scenario(found.values() | {"sweep": crossed}, found.name)
    run_and_show(placed(whole, pool, workers, ray_address), out, overwrite, quiet)


@app.command()
def matrix(
    scenario: Name,
    attacks: Annotated[
        str | None,
        typer.Option(metavar="LIST", help='alie,ipm or a TOML list: \'["ipm", {name="alie", z=1.5}]\'.'),
    ] = None,
    defenses: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Likewise; a list in the list puts pre-aggregations first."),
    ] = None,
    shares: Annotated[
        str | None, typer.Option(metavar="LIST", help="Shares of malicious clients: 0.1,0.2.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="LIST", help="0,1,2 [default: the scenario's].")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="AXIS=VALUE", help="A part of it: defense=median, attack=alie. Repeatable."),
    ] = None,
    set_: Set = None,
    out: Out = None,
    overwrite: Overwrite = False,
    pool: PoolOption = None,
    workers: Workers = None,
    ray_address: Address = None,
    quiet: Quiet = False,
) -> None:
    """Cross attacks, defenses and shares of malicious clients; draw heat maps with the worst case."""
    from .console import join_cluster, progress_of, show_matrix
    from .matrix import run_matrix
    from .overrides import parse_list
    from .scenario import load_scenario

    said = {"attacks": attacks, "defenses": defenses, "shares": shares, "seeds": seeds}
    axes = {f"matrix.{key}": parse_list(text) for key, text in said.items() if text is not None}
    whole = placed(load_scenario(scenario, [*(set_ or ()), *axes.items()]), pool, workers, ray_address)
    join_cluster(whole.runtime)
    progress = progress_of(quiet)
    try:
        table, folder = run_matrix(whole, out, progress, overwrite, only or ())
    finally:
        progress.close()
    show_matrix(table, folder)


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(help="The result folder of a run or a sweep.")],
    pool: PoolOption = None,
    workers: Workers = None,
    ray_address: Address = None,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Load code from outside that a folder of others names.")
    ] = False,
    accept_changes: Annotated[
        bool, typer.Option("--accept-changes", help="Go on with other code, versions or data.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Take up a run or a sweep that stopped: the same bits as if it never had."""
    from . import run as single
    from .cells import is_matrix
    from .console import progress_of, show_matrix, show_results
    from .matrix import resume_matrix
    from .provenance import Consent
    from .sweep import read_sweep, resume_sweep

    progress, consent = progress_of(quiet), Consent(allow_code, accept_changes)
    try:
        swept = read_sweep(folder)
        if swept is not None and is_matrix(folder):
            runtime = runtime_of(swept[0].scenario.runtime, pool, workers, ray_address)
            table, _ = resume_matrix(folder, progress, runtime, consent)
        elif swept is not None:
            runtime = runtime_of(swept[0].scenario.runtime, pool, workers, ray_address)
            runs = resume_sweep(folder, progress, runtime, consent)
        else:
            before = single.stored_runtime(folder)
            runtime = runtime_of(before, pool, workers, ray_address)
            runs = [single.resume(folder, progress, runtime=runtime, consent=consent)]
    finally:
        progress.close()
    if is_matrix(folder):
        show_matrix(table, folder)
    else:
        show_results(runs, folder)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="The result folder of a run.")],
    out: Annotated[Path, typer.Option(help="The file to write, .safetensors.")] = Path("model.safetensors"),
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Load code from outside that a folder of others names.")
    ] = False,
) -> None:
    """Write the trained model's weights as safetensors; model.init begins with them."""
    from .terminal import say
    from .trained import export as write

    say(write(folder, out, allow_code))


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="The result folder of a run, a sweep or a matrix.")],
) -> None:
    """Say what of a result folder is whole: exit code 0, or 1 if no result is lost, or 2."""
    from .terminal import say
    from .verify import told
    from .verify import verify as look

    lines, code = told(folder, look(folder))
    say("\n".join(lines))
    raise typer.Exit(code)


app.command()(attack)


@app.command()
def plot(
    name: Annotated[
        str,
        typer.Argument(
            help="What to draw; 'all': whatever the runs allow; 'privacy-utility'.", autocompletion=pictures
        ),
    ],
    results: Annotated[list[Path], typer.Argument(help="Result folders of runs or sweeps.")],
    by: Annotated[str | None, typer.Option(help="The x axis, where the plot has a choice.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Picture to write, .png, .pdf or .svg [default: beside the results].")
    ] = None,
    format_: Annotated[
        Picture | None, typer.Option("--format", help="What kind of picture [default: png].")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Draw only runs whose scenario says so; repeatable."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(help="column, page or W,H in inches; small print goes into a .txt beside it."),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="OLD=NEW", help="Say it otherwise. Repeatable.")
    ] = None,
    band: Annotated[
        Band | None, typer.Option(help="Over seeds: range, std, or ci, a 95 % interval of the mean.")
    ] = None,
    style: Annotated[str | None, typer.Option(help="A style of matplotlib's, or an .mplstyle file.")] = None,
    value: Annotated[
        str | None, typer.Option(help="Of a matrix: which of its numbers, such as accuracy [default: all].")
    ] = None,
) -> None:
    """Draw results as PNG, PDF or SVG, and beside it the numbers behind it as CSV."""
    from ..core.errors import legible
    from .drawing import MATRIX, check_plot, draw_matrix, draw_results
    from .ownership import refuse_drawing
    from .plots.look import Look, labels_of
    from .select import only as select
    from .sweep import load_runs

    if out is None:
        refuse_drawing(results[0])
    kind, wanted = (format_.value if format_ else None), (band.value if band else None)
    check_plot(name, by, out, kind, wanted, value)
    look = Look(size, labels_of(label or []), style)
    with legible(f"{', '.join(map(str, results))} cannot be drawn"):
        if name == MATRIX:
            return draw_matrix(results, out, kind, look, only or [], value)
        options = {key: value for key, value in (("by", by), ("band", wanted)) if value is not None}
        runs = select(load_runs(results), only or [])
        draw_results(name, runs, results[0] / "plots", out, kind, look, **options)


app.command()(report)
app.command()(table)
app.command()(ui)
app.command("list")(list_)
app.command()(show)
app.command()(explain)
app.command()(doctor)
app.command()(docs)
app.command()(data)
app.command()(codecs)
app.command()(new)
app.command("check-plugin")(check_plugin)


if __name__ == "__main__":
    main()
