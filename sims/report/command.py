"""``gauntlet report``: the page of results that are there already."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    results: Annotated[list[Path], typer.Argument(help="Result folders of runs, sweeps or matrices.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Page to write [default: report.html in the folder; of several, here]."),
    ] = None,
) -> None:
    """Write one HTML page of results: settings, scores, epsilon, leakage, bytes, and how to run it again."""
    from ..ownership import refuse_drawing
    from ..terminal import say
    from .writing import write_report

    if out is None and len(results) == 1:
        refuse_drawing(results[0])
    say(write_report(results, out))
