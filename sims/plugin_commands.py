"""What there is, and what one adds: ``list``, ``show``, ``explain``, ``doctor``, ``data``, ``new``, ..."""

from pathlib import Path
from typing import Annotated

import typer

from .arguments import Set
from .completion import parts, shown, words
from .terminal import say


def list_(
    part: Annotated[
        str | None,
        typer.Argument(
            help="A family of plug-ins, 'attacks', 'scenarios', 'plots' or 'all'.", autocompletion=parts
        ),
    ] = None,
) -> None:
    """List what there is: families with counts; or one part of it with first sentences."""
    from .listing import print_overview, print_part

    if part is None:
        print_overview()
    else:
        print_part(part)


def show(
    name: Annotated[
        str, typer.Argument(help="A scenario, a .toml file, or a plug-in.", autocompletion=shown)
    ],
) -> None:
    """Print a scenario's file; or a plug-in's description, options and a scenario that uses it."""
    from .catalogue import print_plugin, print_scenario
    from .shelves import scenario_names

    if name.endswith(".toml") or name in scenario_names():
        print_scenario(name)
    else:
        print_plugin(name)


def explain(
    word: Annotated[
        str,
        typer.Argument(
            help="A column of the tables, a table, or a value: epsilon_reason=weights.", autocompletion=words
        ),
    ],
) -> None:
    """Say what a column of the result tables means, or a value in it."""
    from .explain import explain as said

    say("\n".join(said(word)))


def doctor() -> None:
    """Say what this machine has: versions, cores, memory, GPUs, Ray, data; what is missing, and what for."""
    from .doctor import diagnosis

    say("\n".join(diagnosis()))


def data(
    scenario: Annotated[str, typer.Argument(help="A scenario's name or file, or a data set's name.")],
    set_: Set = None,
    out: Annotated[Path | None, typer.Option(help="Picture to write: .png, .pdf or .svg.")] = None,
) -> None:
    """Draw which labels each client holds, and say how sizes, labels and inputs are spread."""
    from .catalogue import draw_labels

    lines, picture = draw_labels(scenario, set_ or [], out)
    say("\n".join([*lines, str(picture)]))


def new(
    kind: Annotated[
        str,
        typer.Argument(
            help="attack, data-attack, leakage-attack, defense, client-defense, codec, schedule, server, "
            "task, or dataset.",
        ),
    ],
    name: Annotated[str, typer.Argument(help="The plug-in's name, such as my_attack.")],
    folder: Annotated[Path, typer.Option(help="Where to write the files.")] = Path(),
) -> None:
    """Write a plug-in that works, with its test, to start from; for some kinds a scenario, too."""
    from .scaffold import scaffold

    for path in scaffold(kind, name, folder):
        say(path)


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
