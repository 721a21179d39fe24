"""``gauntlet table``: results as a table for a paper."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .arguments import Band


class Form(StrEnum):
    """How a table is written."""

    latex = "latex"
    markdown = "markdown"
    csv = "csv"


def table(
    results: Annotated[
        list[Path], typer.Argument(help="Result folders of runs or sweeps, or of one matrix.")
    ],
    form: Annotated[Form, typer.Option("--format", help="How it is written.")] = Form.latex,
    columns: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="run,accuracy,epsilon,... [default: those that say something]."),
    ] = None,
    value: Annotated[
        str, typer.Option(help="Of a matrix: which of its numbers, such as drop or recall.")
    ] = "best_accuracy",
    label: Annotated[
        list[str] | None, typer.Option(metavar="OLD=NEW", help="Say it otherwise. Repeatable.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Take only runs whose scenario says so; of a matrix defense=..., attack=..., share=... "
            "Repeatable.",
        ),
    ] = None,
    band: Annotated[
        Band | None,
        typer.Option(help="Behind a mean over seeds: half of the range, std, or half of the 95 % ci."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write [default: printed].")] = None,
) -> None:
    """Write results as a table: a row a run, or of a matrix a row a defense and a column an attack."""
    from ..core.errors import ScenarioError, legible
    from .cells import is_matrix
    from .plots.look import labels_of
    from .select import only as select
    from .sweep import load_runs
    from .tables import FORMS, matrix_table_of, summary_table, write_table
    from .terminal import say

    with legible(f"{', '.join(map(str, results))} cannot be written as a table"):
        if is_matrix(results[0]):
            if len(results) > 1 or columns is not None:
                raise ScenarioError(
                    "a matrix is a table of its own: name its folder alone, without --columns"
                )
            found = matrix_table_of(results[0], value, band.value if band else None, only or [])
        else:
            named = [name.strip() for name in columns.split(",")] if columns else []
            found = summary_table(
                select(load_runs(results), only or []), named, band.value if band else "range"
            )
        text = FORMS[form.value](found.renamed(labels_of(label or [])).plain())
    if out is None:
        print(text, end="")
    else:
        say(write_table(text, out))
