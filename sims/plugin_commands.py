"""``gauntlet list``, ``show``, ``data``, ``new`` and ``check-plugin``: what there is, and what one adds."""

from pathlib import Path
from typing import Annotated

import typer

from .arguments import Set


def list_(
    family: Annotated[
        str | None, typer.Argument(help="One family of plug-ins, 'scenarios' or 'plots'.")
    ] = None,
) -> None:
    """List the shipped scenarios, and every plug-in by family; or what can be drawn of results."""
    from .catalogue import print_families, print_plots, print_scenarios

    if family in (None, "scenarios"):
        print_scenarios()
    if family == "plots":
        print_plots()
    elif family != "scenarios":
        print_families(family)


def show(name: Annotated[str, typer.Argument(help="A scenario, a .toml file, or a plug-in.")]) -> None:
    """Print a scenario's file, or a plug-in's description and options."""
    from .catalogue import print_plugin, print_scenario
    from .scenario import scenario_names

    if name.endswith(".toml") or name in scenario_names():
        print_scenario(name)
    else:
        print_plugin(name)


def data(
    scenario: Annotated[str, typer.Argument(help="A scenario's name or file, or a data set's name.")],
    set_: Set = None,
    out: Annotated[Path | None, typer.Option(help="Picture to write: .png, .pdf or .svg.")] = None,
) -> None:
    """Draw which labels each client holds."""
    from .catalogue import draw_labels

    print(draw_labels(scenario, set_ or [], out))


def new(
    kind: Annotated[
        str,
        typer.Argument(
            help="attack, data-attack, leakage-attack, defense, client-defense, codec, schedule, server, "
            "or task.",
        ),
    ],
    name: Annotated[str, typer.Argument(help="The plug-in's name, such as my_attack.")],
    folder: Annotated[Path, typer.Option(help="Where to write the files.")] = Path(),
) -> None:
    """Write a plug-in that works, with its test, to start from; for some kinds a scenario, too."""
    from .scaffold import scaffold

    for path in scaffold(kind, name, folder):
        print(path)


def check_plugin(
    name: Annotated[str, typer.Argument(help="A name, package.module:Class, or path/to/file.py:Class.")],
    family: Annotated[
        str | None, typer.Option(help="Its family, where the name alone does not tell.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="OPTION=VALUE", help="An option of the plug-in."),
    ] = None,
) -> None:
    """Run a family's contract on a plug-in: what every member owes."""
    from .catalogue import check

    if not check(name, family, set_ or []):
        raise typer.Exit(1)
