"""A table of your own: a CSV file with a header, a row an example."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import DataError
from ...core.live import class_of, is_live
from .base import Array, Dataset, Targets
from .column import are_numbers, days, numbers
from .columns import Given, codes, features, sorted_words
from .csv_file import CsvFile, check_format
from .held import FrameFile
from .held_out import held_out
from .pile import MOST_CLASSES

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class CsvTable:
    """Rows as features, see ``columns.features``; a label of a few words or numbers, or a number to predict.

    What is missing is an empty cell, or what ``missing`` names; in columns of numbers also what pandas reads
    as missing ("NA", "n/a", "nan", "null", ...). A row without a label or a client, or with fewer cells than
    the header, is refused. With ``client`` each value of that column is a natural client (partition
    ``natural``).

    **Privacy.** A scale, a list of categories or of classes that is taken from the training rows tells
    something about them that no mechanism protects: there is no epsilon then (``fitted_inputs``). Give
    ``ranges``, ``categories`` and ``classes`` from public knowledge where one is wanted.

    Attributes:
        path: A file ``.csv``, or packed, ``.csv.gz`` or ``.csv.xz``; a relative path counts from the working
            folder. In Python a DataFrame, too.
        label: The column to predict.
        regression: Whether the label is a number; False: a class.
        test_path: A second file with the same columns for the test; empty: a share of the rows.
        test_share: Share of the rows that is held out, between 0.05 and 0.95: the same rows in every run,
            and of each client its own share.
        client: The column that says whose a row is; it is no feature. Empty: nobody's.
        columns: The features' columns; empty: all others.
        categories: Columns that are categories, each with its values; an empty list: those that occur.
        ranges: Columns that are numbers, each with the least and the largest value that is public; two dates
            (``"2023-01-31"``) make a column of dates.
        classes: The label's values in the order of the classes; empty: those that occur, sorted.
        separator: Between cells.
        missing: Words that are empty cells, in every column.
        dates: Columns of ISO dates, which become numbers of days.
        encoding: Of the text, as Python calls it: ``latin-1``, ``cp1252``.
    """

    path: str
    label: str
    regression: bool = False
    test_path: str = ""
    test_share: float = 0.2
    client: str = ""
    columns: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float | str, float | str]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    separator: str = ","
    missing: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        if not 0.05 <= self.test_share <= 0.95:
            raise ValueError(f"test_share must be in [0.05, 0.95], got {self.test_share}")
        check_format(self.separator, self.encoding)
        given = self._given()
        for name, (low, high) in given.ranges.items():
            if not -np.inf < low < high < np.inf:
                came = ", ".join(map(str, self.ranges[name]))
                raise ValueError(f"ranges: {name} must go from low to high, finite, got [{came}]")
        for others, what in ((self.ranges, "ranges"), (given.dates, "dates")):
            if both := set(others) & set(self.categories):
                raise ValueError(f"{min(both)} is in {what} and in categories; it can be one of them")
        if self.client == self.label:
            raise ValueError(f"client and label are the same column, {self.label!r}")
        if self.regression and self.classes:
            raise ValueError("a regression has no classes: leave one of them out")
        for what, values in (("classes", self.classes), *self.categories.items()):
            if len(set(values)) < len(values):
                raise ValueError(f"{what}: a value stands there twice, got {', '.join(map(str, values))}")

    def _given(self) -> Given:
        """Return what the options say of columns; a range of two dates makes a column one of dates."""
        dated = {n for n, ends in self.ranges.items() if any(isinstance(end, str) for end in ends)}
        dates = tuple(dict.fromkeys((*self.dates, *sorted(dated))))
        ranges = {name: _range(name, ends, name in dates) for name, ends in self.ranges.items()}
        return Given(self.categories, ranges, dates)

    def load(self) -> Dataset:
        train, test = self._rows()
        names = self._features(train)
        found = features(
            {name: train.words(name) for name in names},
            {name: test.words(name) for name in names},
            self._given(),
            (train.at, test.at),
        )
        y, test_y, count, learnt = self._labels(train, test)
        both = found.x.min(), found.x.max(), found.test_x.min(), found.test_x.max()
        return Dataset(
            name=class_of(self.path) if is_live(self.path) else Path(self.path).name.partition(".")[0],
            x=found.x,
            y=y,
            test_x=found.test_x,
            test_y=test_y,
            num_classes=count,
            value_range=(float(min(both)), float(max(both))),
            groups=train.words(self.client) if self.client else None,
            targets=Targets((self.label,)) if self.regression else None,
            fitted=(*found.fitted, *learnt),
            columns=found.columns,
            notes=found.notes,
        )

    def _read(self, path: str) -> "_Rows":
        if is_live(path):
            held = FrameFile(path, self.missing)
            return _Rows(held, held.read())
        file = CsvFile(path, self.separator, self.encoding, self.missing)
        return _Rows(file, file.read())

    def _rows(self) -> "tuple[_Rows, _Rows]":
        """Return the training and the test rows."""
        whole = self._read(self.path)
        whole.refuse_empty("label", self.label)
        if self.client:
            whole.refuse_empty("client", self.client)
        if self.test_path:
            test = self._read(self.test_path)
            for name in whole.table.columns:
                if name != self.client:
                    test.check_column(name)
            test.refuse_empty("label", self.label)
            return whole, test
        size = len(whole.table)
        owners = whole.words(self.client) if self.client else np.zeros(size, dtype=np.int64)
        out = held_out(owners, self.test_share)
        if out.all() or not out.any():
            raise DataError(f"{self.path}: {size} rows are too few to hold {self.test_share:g} of them out")
        return replace(whole, table=whole.table[~out]), replace(whole, table=whole.table[out])

    def _features(self, train: "_Rows") -> list[str]:
        """Return the names of the columns that are features."""
        for name in (*self.columns, *self.categories, *self.ranges, *self.dates):
            train.check_column(name)
            if name in (self.label, self.client):
                raise DataError(f"column {name!r} is the label or the client, and cannot be a feature")
        found = [n for n in self.columns or train.table.columns if n not in (self.label, self.client)]
        if not found:
            raise DataError(f"{self.path} has no column besides {self.label!r} to learn from")
        return found

    def _labels(self, train: "_Rows", test: "_Rows") -> tuple[Array, Array, int, tuple[str, ...]]:
        """Return the labels of both, the number of classes, and what was learnt from training rows."""
        if self.regression:
            return self._targets(train), self._targets(test), 0, ()
        words = train.words(self.label)
        classes = np.array(self.classes or sorted_words(words))
        if len(classes) > MOST_CLASSES:
            raise DataError(
                f"{self.path}: {self.label!r} has {len(classes)} different values, at most {MOST_CLASSES} "
                "are classes; set regression = true where it is a number"
            )
        y = codes(self.path, words, classes, train.at)
        test_y = codes(self.path, test.words(self.label), classes, test.at)
        return y, test_y, len(classes), () if self.classes else ("the classes",)

    def _targets(self, rows: "_Rows") -> Array:
        words = rows.words(self.label)
        values = numbers(words)
        if values is None:
            wrong = np.flatnonzero(~are_numbers(words))
            raise DataError(
                f"{self.path}: {self.label!r} must be numbers, for regression = true, got "
                f"{str(words[wrong[0]])!r} ({rows.at(wrong)})"
            )
        found: Array = values.astype(np.float32)[:, None]
        return found


@dataclass(frozen=True)
class _Rows:
    """Rows of a file: its words, and where each row stands in it."""

    file: CsvFile | FrameFile
    table: "pd.DataFrame"

    def words(self, name: str) -> Array:
        """Return a column's words.  # [n]"""
        found: Array = self.table[name].to_numpy(dtype=str)
        return found

    def at(self, rows: Array) -> str:
        """Return where rows of the table stand in the file."""
        return self.file.lines(self.table.index.to_numpy()[rows])

    def check_column(self, name: str) -> None:
        """Raise ``DataError`` unless there is that column."""
        self.file.check_column(self.table, name)

    def refuse_empty(self, what: str, name: str) -> None:
        """Raise ``DataError`` where there is no such column, or an empty cell in it."""
        self.check_column(name)
        if (lacks := np.flatnonzero(self.words(name) == "")).size:
            raise DataError(
                f"{self.file.path}: {self.at(lacks)}: a row has no {what} ({name!r}): fill it in, or leave "
                "the row out"
            )


def _range(name: str, ends: tuple[float | str, float | str], dates: bool) -> tuple[float, float]:
    """Return a column's range as numbers."""
    if not dates:
        return float(ends[0]), float(ends[1])
    try:
        low, high = days(name, np.array([str(end) for end in ends])).tolist()
    except DataError as error:
        raise ValueError(
            f"ranges: {name} must be two numbers or two dates, such as "
            f'[0, 100] or ["2023-01-01", "2024-12-31"], got [{", ".join(map(repr, ends))}]'
        ) from error
    return low, high
