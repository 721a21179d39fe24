"""What several commands take alike, and what it means for where a scenario runs."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .completion import scenarios

if TYPE_CHECKING:
    from .scenario import Scenario
    from .sections import Runtime


class Picture(StrEnum):
    """What kind of file a picture is."""

    png = "png"
    pdf = "pdf"
    svg = "svg"


class Band(StrEnum):
    """What a band over seeds shows."""

    range = "range"
    std = "std"
    ci = "ci"


class Pool(StrEnum):
    """Where clients run."""

    ray = "ray"
    serial = "serial"


class Aware(StrEnum):
    """Whether attacks take what the codec says of its frames; ``both``: once each."""

    yes = "yes"
    no = "no"
    both = "both"


Name = Annotated[
    str,
    typer.Argument(
        help="A shipped scenario's name (see 'gauntlet list scenarios') or a .toml file.",
        autocompletion=scenarios,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Change one value: rounds=20, defense.name=krum."),
]
Out = Annotated[Path | None, typer.Option(help="Result folder [default: a fresh one under results/].")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Delete the results that --out holds.")]
PoolOption = Annotated[Pool | None, typer.Option("--pool", help="Where clients run.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Ray workers [default: every core].")]
Address = Annotated[str | None, typer.Option(help="A Ray cluster to join instead of this machine.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the summary.")]


def placed(scenario: "Scenario", pool: Pool | None, workers: int | None, address: str | None) -> "Scenario":
    """Return a scenario that runs where the command line says."""
    runtime = runtime_of(scenario.runtime, pool, workers, address)
    return scenario.model_copy(update={"runtime": runtime})


def runtime_of(before: "Runtime", pool: Pool | None, workers: int | None, address: str | None) -> "Runtime":
    """Return where a run is to run: as ``before``, but for what the command line says."""
    said = {"pool": pool.value if pool else None, "num_workers": workers, "ray_address": address}
    return before.model_copy(update={k: v for k, v in said.items() if v is not None})
