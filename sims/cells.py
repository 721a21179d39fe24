"""The cells of a matrix, as its folder lists them, and the names of its runs' folders."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..core.errors import ResultsError
from .results import check_keys, read_json

SCHEMA = 1


@dataclass(frozen=True)
class Cell:
    """One seed of one field of the matrix, and the run that fills it.

    Attributes:
        attack: The attack's label, or ``"no attack"``.
        share: Share of malicious clients; without an attack, the one that the defense was told to expect.
        defense: The defense's label.
        seed: The run's seed.
        folder: The run's folder; defenses that are told nothing share one without an attack.
    """

    attack: str
    share: float
    defense: str
    seed: int
    folder: str


def place_of(number: int) -> str:
    """Return the name of the folder of a sweep's run."""
    return f"run-{number:03d}"


def is_matrix(folder: Path) -> bool:
    """Return whether a folder holds a matrix."""
    return (folder / "matrix.json").is_file()


def stored(cells: Sequence[Cell]) -> dict[str, Any]:
    """Return what ``read_cells`` reads again."""
    return {"schema": SCHEMA, "cells": [asdict(cell) for cell in cells]}


def read_cells(folder: Path, runs: int) -> list[Cell]:
    """Return the cells of a matrix's folder, which has so many runs.

    Raises:
        ResultsError: The list cannot be read, or names a run that is none of the matrix's own.
    """
    path = folder / "matrix.json"
    table = read_json(path, {"schema": int, "cells": list})
    if table["schema"] != SCHEMA:
        raise ResultsError(f"{path} is of schema {table['schema']}, expected {SCHEMA}")
    keys = {"attack": str, "share": float, "defense": str, "seed": int, "folder": str}
    for number, cell in enumerate(table["cells"]):
        if not isinstance(cell, dict) or cell.keys() != keys.keys():
            raise ResultsError(f"{path} cannot be read: 'cells.{number}' is {cell!r:.40}, expected a cell")
        check_keys(path, cell, keys, f"cells.{number}.")
        if cell["folder"] not in map(place_of, range(runs)):
            raise ResultsError(
                f"{path} cannot be read: 'cells.{number}.folder' is {cell['folder']!r:.60}, "
                "expected one of the folders in sweep.json"
            )
    return [Cell(**cell) for cell in table["cells"]]
