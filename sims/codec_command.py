"""``gauntlet codecs``: what every codec and packing costs and loses, on drawn values or a run's messages."""

from typing import Annotated

import typer


def codecs(
    only: Annotated[
        list[str] | None,
        typer.Argument(
            help="Codecs, also file.py:Class; all built-in ones where none is named.", metavar="[NAME]..."
        ),
    ] = None,
    numel: Annotated[str, typer.Option(help="How many values to draw: 1000000, or 1e6.")] = "1e6",
    distribution: Annotated[
        str,
        typer.Option(
            metavar="LAW|RESULT", help="gauss, laplace or uniform; or a result folder with recorded messages."
        ),
    ] = "gauss",
) -> None:
    """Print of every codec and packing: bits a value, the bound, what is lost, and speed with one thread."""
    from ..clients.codecs import CODECS
    from ..core.errors import ScenarioError
    from .codec_table import LAWS, drawn, print_codecs, recorded_material

    for name in only or ():
        CODECS.find(name)  # refused before anything is measured
    try:
        number = int(float(numel))
        if number != float(numel):
            raise ValueError(numel)
    except (ValueError, OverflowError):
        raise ScenarioError(f"--numel must be a whole number such as 1e6, got '{numel}'") from None
    material = drawn(number, distribution) if distribution in LAWS else recorded_material(distribution)
    print_codecs(material, only or None)
