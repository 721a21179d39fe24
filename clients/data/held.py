"""Arrays and tables of this process in the place of a file: ``path`` is the name of a live object then."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ...core.errors import DataError, unknown
from ...core.live import found, is_live
from .column import Array

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


NEEDED, OPTIONAL = ("x", "y"), ("test_x", "test_y", "client")
"""Names of arrays, as ``npz`` knows them."""


@dataclass(frozen=True, eq=False)
class Arrays:
    """What an ``.npz`` file would hold, by the same names."""

    arrays: Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Frame:
    """What a CSV file would hold: words by column, "" where a cell is missing.  # [n] each"""

    columns: Mapping[str, Array]


@dataclass(frozen=True)
class FrameFile:
    """A table of this process, read as ``CsvFile`` reads one.

    Attributes:
        path: The live object's name.
        missing: Words that are read as empty cells.
    """

    path: str
    missing: tuple[str, ...] = ()

    def read(self) -> "pd.DataFrame":
        """Return its words by column; the index is the number of the row, from 0."""
        import pandas as pd

        table = pd.DataFrame(dict(_held(self.path, Frame).columns), dtype=str)
        return table.mask(table.isin(self.missing), "") if self.missing else table

    def check_column(self, table: "pd.DataFrame", name: str) -> None:
        """Raise ``DataError`` unless the table has that column."""
        if name not in table.columns:
            raise DataError(unknown("column of the DataFrame", name, map(str, table.columns)))

    def lines(self, rows: Array) -> str:
        """Return which rows are meant, counted from 0: ``row 12``, ``rows 12, 40 and 5 more``."""
        few = ", ".join(str(int(row)) for row in rows[:3])
        more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
        return f"row{'s' if len(rows) > 1 else ''} {few}{more}"


def held_arrays(path: str) -> dict[str, Array]:
    """Return the arrays that a live object's name stands for.

    Raises:
        PluginError: This process holds none of that name.
        DataError: It is something else.
    """
    return {name: np.asarray(array) for name, array in _held(path, Arrays).arrays.items()}


def _held(path: str, kind: type[T]) -> T:
    thing = found(path, "data")() if is_live(path) else None
    if not isinstance(thing, kind):
        wanted = "a DataFrame (csv)" if kind is Frame else "arrays (npz)"
        raise DataError(f"{path} must be {wanted}, got {type(thing).__name__}")
    return thing
