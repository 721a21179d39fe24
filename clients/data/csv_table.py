"""A table of your own: a CSV file with a header, a row an example."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import DataError, unknown
from .base import Array, Dataset, Targets
from .columns import codes, features, numbers, sorted_words
from .held_out import held_out
from .pile import MOST_CLASSES
from .unpacking import read_bytes

if TYPE_CHECKING:
    import pandas as pd

LARGEST = 2**31  # bytes of a table, unpacked


@dataclass(frozen=True)
class CsvTable:
    """Rows as features, see ``columns.features``; a label of a few words or numbers, or a number to predict.

    What is missing is an empty cell. A row without a label is refused. With ``client`` each value of that
    column is a natural client (partition ``natural``).

    **Privacy.** A scale, a list of categories or of classes that is taken from the training rows tells
    something about them that no mechanism protects: there is no epsilon then (``fitted_inputs``). Give
    ``ranges``, ``categories`` and ``classes`` from public knowledge where one is wanted.

    Attributes:
        path: A file ``.csv``, or packed, ``.csv.gz`` or ``.csv.xz``; a relative path counts from the working
            folder.
        label: The column to predict.
        regression: Whether the label is a number; False: a class.
        test_path: A second file with the same columns for the test; empty: a share of the rows.
        test_share: Share of the rows that is held out, between 0.05 and 0.95: the same rows in every run,
            and of each client its own share.
        client: The column that says whose a row is; it is no feature. Empty: nobody's.
        columns: The features' columns; empty: all others.
        categories: Columns that are categories, each with its values; an empty list: those that occur.
        ranges: Columns that are numbers, each with the least and the largest value that is public.
        classes: The label's values in the order of the classes; empty: those that occur, sorted.
        separator: Between cells.
    """

    path: str
    label: str
    regression: bool = False
    test_path: str = ""
    test_share: float = 0.2
    client: str = ""
    columns: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    separator: str = ","

    def __post_init__(self) -> None:
        if not 0.05 <= self.test_share <= 0.95:
            raise ValueError(f"test_share must be in [0.05, 0.95], got {self.test_share}")
        if len(self.separator) != 1:
            raise ValueError(f"separator must be one character, got {self.separator!r}")
        for name, (low, high) in self.ranges.items():
            if not -np.inf < low < high < np.inf:
                raise ValueError(f"ranges: {name} must go from low to high, finite, got [{low}, {high}]")
        if both := set(self.ranges) & set(self.categories):
            raise ValueError(f"{min(both)} is in ranges and in categories; it can be one of them")
        if self.client == self.label:
            raise ValueError(f"client and label are the same column, {self.label!r}")
        if self.regression and self.classes:
            raise ValueError("a regression has no classes: leave one of them out")
        for what, values in (("classes", self.classes), *self.categories.items()):
            if len(set(values)) < len(values):
                raise ValueError(f"{what}: a value stands there twice, got {', '.join(map(str, values))}")

    def load(self) -> Dataset:
        train, test = self._tables()
        names = self._features(train)
        found = features(
            {name: _words(train, name) for name in names},
            {name: _words(test, name) for name in names},
            self.categories,
            self.ranges,
        )
        y, test_y, count, learnt = self._labels(train, test)
        both = found.x.min(), found.x.max(), found.test_x.min(), found.test_x.max()
        return Dataset(
            name=Path(self.path).name.partition(".")[0],
            x=found.x,
            y=y,
            test_x=found.test_x,
            test_y=test_y,
            num_classes=count,
            value_range=(float(min(both)), float(max(both))),
            groups=_words(train, self.client) if self.client else None,
            targets=Targets((self.label,)) if self.regression else None,
            fitted=(*found.fitted, *learnt),
        )

    def _tables(self) -> "tuple[pd.DataFrame, pd.DataFrame]":
        """Return the training and the test rows."""
        table = self._read(self.path)
        for name in (self.label, *([self.client] if self.client else [])):
            _check_column(self.path, table, name)
        if self.test_path:
            test = self._read(self.test_path)
            for name in table.columns:
                if name != self.client:
                    _check_column(self.test_path, test, name)
            return table, test
        owners = _words(table, self.client) if self.client else np.zeros(len(table), dtype=np.int64)
        out = held_out(owners, self.test_share)
        if out.all() or not out.any():
            raise DataError(
                f"{self.path}: {len(table)} rows are too few to hold {self.test_share:g} of them out"
            )
        return table[~out], table[out]

    def _read(self, path: str) -> "pd.DataFrame":
        import pandas as pd

        place = Path(path).expanduser()
        if not place.is_file():
            raise DataError(f"there is no file {path} (working folder {Path.cwd()})")
        content = BytesIO(read_bytes(place, LARGEST))
        try:
            table = pd.read_csv(content, dtype=str, keep_default_na=False, sep=self.separator)
        except (ValueError, UnicodeDecodeError) as error:  # pandas' errors of parsing are ValueErrors
            raise DataError(f"{path} is no table: {str(error).splitlines()[0]}") from error
        if twice := [str(c) for c in table.columns if str(c).endswith(".1") and str(c)[:-2] in table.columns]:
            raise DataError(f"{path}: column {twice[0][:-2]!r} stands there twice")
        if not isinstance(table.index, pd.RangeIndex):  # what pandas makes of them
            raise DataError(f"{path}: a row has more cells than the header has columns")
        table = table.rename(columns=lambda name: str(name).strip())
        return table.fillna("").apply(lambda words: words.str.strip())

    def _features(self, table: "pd.DataFrame") -> list[str]:
        """Return the names of the columns that are features."""
        for name in (*self.columns, *self.categories, *self.ranges):
            _check_column(self.path, table, name)
            if name in (self.label, self.client):
                raise DataError(f"column {name!r} is the label or the client, and cannot be a feature")
        found = [n for n in self.columns or table.columns if n not in (self.label, self.client)]
        if not found:
            raise DataError(f"{self.path} has no column besides {self.label!r} to learn from")
        return found

    def _labels(
        self, train: "pd.DataFrame", test: "pd.DataFrame"
    ) -> tuple[Array, Array, int, tuple[str, ...]]:
        """Return the labels of both, the number of classes, and what was learnt from training rows."""
        words = [_words(table, self.label) for table in (train, test)]
        if any((column == "").any() for column in words):
            raise DataError(f"{self.path}: a row has no label ({self.label!r})")
        if self.regression:
            values = [numbers(column) for column in words]
            if values[0] is None or values[1] is None:
                raise DataError(f"{self.path}: {self.label!r} must be numbers, for regression = true")
            return values[0].astype(np.float32)[:, None], values[1].astype(np.float32)[:, None], 0, ()
        classes = np.array(self.classes or sorted_words(words[0]))
        if len(classes) > MOST_CLASSES:
            raise DataError(
                f"{self.path}: {self.label!r} has {len(classes)} different values, at most {MOST_CLASSES} "
                "are classes; set regression = true where it is a number"
            )
        y, test_y = (codes(self.path, column, classes) for column in words)
        return y, test_y, len(classes), () if self.classes else ("the classes",)


def _words(table: "pd.DataFrame", name: str) -> Array:
    found: Array = table[name].to_numpy(dtype=str)
    return found


def _check_column(path: str, table: "pd.DataFrame", name: str) -> None:
    if name not in table.columns:
        raise DataError(unknown(f"column of {path}", name, map(str, table.columns)))
