"""What was rebuilt of tables' rows, as one table beside the pictures: the columns' names, their own units."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .naming import run_names
from .tables import Table, comma_separated, write_table

if TYPE_CHECKING:
    import pandas as pd

    from .results import Run

NAME = "rebuilt_rows.csv"


def rebuilt_rows(runs: Sequence[Run]) -> pd.DataFrame | None:
    """Return the true and the rebuilt rows of every message that was attacked; None where there are none.

    The index says whose: ``run``, ``seed``, ``attack``, ``round``, ``client``, ``example`` and ``row``. Where
    tables differ, a column that a run has not is empty.
    """
    import pandas as pd

    found = {}
    for name, run in zip(run_names(runs), runs, strict=True):
        for number, item in enumerate([*run.gallery(), *run.attacked()]):
            if (table := item.table()) is not None:
                whose = name, int(run.manifest["seed"]), item.attack, item.round, item.client_id
                found[*whose, number] = table
    if not found:
        return None
    whole = pd.concat(found, names=["run", "seed", "attack", "round", "client", "message"])
    return whole.droplevel("message")


def write_rebuilt_rows(runs: Sequence[Run], folder: Path) -> str | None:
    """Write that table into a folder; return the file's name, or None where there is nothing.

    Raises:
        ResultsError: The disk is full or not writable.
    """
    rows = rebuilt_rows(runs)
    if rows is None:
        return None
    cells = rows.fillna("").reset_index(allow_duplicates=True).astype(str)
    heads, body = list(map(str, cells.columns)), cells.to_numpy().tolist()
    write_table(comma_separated(Table(heads=heads, rows=body, note="")), folder / NAME)
    return NAME
