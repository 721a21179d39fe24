"""How the words of one column of a table become features: numbers, dates or categories."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np

from ...core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Array = np.ndarray[Any, Any]

LARGEST = 1e30
"""What is larger is no number: its square does not fit into float64."""
NOT_KNOWN = (
    *("#N/A", "#NA", "N/A", "NA", "n/a", "<NA>", "#N/A N/A", "NULL", "null", "None"),
    *("NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)
"""Words that pandas reads as missing by default; here they are empty cells in columns of numbers alone."""
_EPOCH = datetime(1970, 1, 1)

At = Callable[[Array], str]
"""From the places of rows in a table [k] to where they stand in its file, in words."""


@dataclass(frozen=True)
class Column:
    """How the words of a column become features.

    Attributes:
        name: The column's name.
        kind: A number, a date (a number of days from 1970-01-01) or a category.
        known: A category's values, one feature each.
        middle: What is subtracted from a number.
        width: What it is divided by then, above 0.
        least: No feature is below.
        most: No feature is above.
        missing: The feature of an empty cell.
    """

    name: str
    kind: Literal["number", "date", "category"]
    known: tuple[str, ...] = ()
    middle: float = 0.0
    width: float = 1.0
    least: float = -np.inf
    most: float = np.inf
    missing: float = 0.0

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features."""
        return tuple(f"{self.name}={word}" for word in self.known) or (self.name,)

    def of(self, words: Array, at: At | None = None) -> Array:
        """Return the features of a table's column, float32.  # [n, F]

        Raises:
            DataError: A word that is no number, or no date.
        """
        if self.kind == "category":
            indicators: Array = words[:, None] == np.array(self.known)
            return indicators.astype(np.float32)
        values = days(self.name, words, at) if self.kind == "date" else numbers(words, NOT_KNOWN)
        if values is None:
            refuse_odd(self.name, words, are_odd(words), at)
        scaled = np.clip((values - self.middle) / self.width, self.least, self.most)
        found: Array = np.where(np.isnan(values), self.missing, scaled).astype(np.float32)
        return found[:, None]

    def cells(self, features: Array) -> list[str]:
        """Return what features stand for, in the column's own unit, as ``of`` would read it.

        A category's word is that of its largest feature, where that is at least a half; else "". A missing
        number cannot be told from the mean, nor from the middle of its range.

        Args:
            features: Of this column alone.  # [n, F]
        """
        if self.kind == "category":
            named = features.max(axis=1) >= 0.5
            words = np.array(self.known)[features.argmax(axis=1)]
            return [str(word) if there else "" for word, there in zip(words, named, strict=True)]
        values = (features[:, 0].astype(np.float64) * self.width + self.middle).tolist()
        return [_day_or_number(value, self.kind == "date") for value in values]

    def plain(self) -> dict[str, Any]:
        """Return it as plain values, as a manifest holds it; bounds that are none are left out."""
        return {k: v for k, v in asdict(self).items() if v not in (-np.inf, np.inf, ())}


def _day_or_number(value: float, is_date: bool) -> str:
    if not is_date:
        return f"{value:.6g}"
    try:
        return (_EPOCH + timedelta(days=value)).isoformat(sep=" ", timespec="minutes").removesuffix(" 00:00")
    except (OverflowError, ValueError):  # no day of a calendar
        return f"day {value:.6g}"


def in_words(cells: "pd.Series[Any]") -> Array:
    """Return cells as words, as a CSV file has them: whole numbers without a point, "" for a missing cell.

    The result is of shape [n].
    """
    missing = cells.isna().tolist()
    found = ["" if gone else _word(cell) for cell, gone in zip(cells.tolist(), missing, strict=True)]
    return np.array(found, dtype=str)


def _word(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    return str(cell).strip()


def numbers(words: Array, missing: Sequence[str] = ()) -> Array | None:
    """Return words as float64, NaN for "" and ``missing``; None where one is no number up to ``LARGEST``.

    The result has the words' shape, [n].
    """
    known = ~np.isin(words, ["", *missing])
    values = np.full(len(words), np.nan)
    try:
        values[known] = words[known].astype(np.float64)
    except ValueError:
        return None
    return values if (np.abs(values[known]) <= LARGEST).all() else None


def days(name: str, words: Array, at: At | None = None) -> Array:
    """Return dates, as ISO 8601 writes them, as days from 1970-01-01; NaN for a missing one.  # [n]

    Raises:
        DataError: A word that is no such date.
    """
    different, places = np.unique(words, return_inverse=True)
    values = np.array([np.nan if w in ("", *NOT_KNOWN) else day_of(w) for w in different.tolist()])
    wrong = np.isinf(values)
    if wrong.any():
        rows = np.flatnonzero(wrong[places])
        where = f" ({at(rows)})" if at else ""
        raise DataError(
            f"column {name!r} holds dates, and also {str(words[rows[0]])!r}{where}: dates are written as "
            "2023-01-31, with a time or without"
        )
    found: Array = values[places]
    return found


def day_of(word: str) -> float:
    """Return a date as days from 1970-01-01, in universal time where it names an offset; infinity if none."""
    try:
        moment = datetime.fromisoformat(word) if not word.isdigit() else None
    except ValueError:
        moment = None
    if moment is None:
        return np.inf
    since = moment.replace(tzinfo=None) - (moment.utcoffset() or timedelta()) - _EPOCH
    return since / timedelta(days=1)


def are_numbers(words: Array) -> Array:
    """Return which words are numbers up to ``LARGEST``.  # [n] bool"""
    different, places = np.unique(words, return_inverse=True)
    found: Array = np.array([_is_number(word) for word in different.tolist()], dtype=bool)[places]
    return found


def are_odd(words: Array) -> Array:
    """Return which words are neither numbers nor missing.  # [n] bool"""
    found: Array = ~are_numbers(words) & ~np.isin(words, ["", *NOT_KNOWN])
    return found


def _is_number(word: str) -> bool:
    try:
        return abs(float(word)) <= LARGEST
    except ValueError:
        return False


def refuse_odd(name: str, words: Array, odd: Array, at: At | None) -> NoReturn:
    """Raise ``DataError`` over words among numbers that are none.

    Args:
        name: The column.
        words: Its words.  # [n]
        odd: Which of them are meant.  # [n] bool
        at: Where rows stand, for messages.
    """
    rows = np.flatnonzero(odd)
    where = f" ({at(rows)})" if at else ""
    others = np.unique(words[odd]).tolist()
    if all(np.isfinite(day_of(word)) for word in others):
        way = f'read it as days (dates = ["{name}"])'
    else:
        some = ", ".join(f'"{word}"' for word in others[:3])
        way = f"leave cells that are not known empty, or name what stands in them (missing = [{some}])"
    raise DataError(
        f"column {name!r} holds numbers, and also {str(words[rows[0]])!r}{where}: {way}, or name the column "
        "in categories"
    )
