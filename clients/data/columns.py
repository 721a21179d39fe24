"""From a table's columns to features: numbers and categories, and what was learnt from training rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...core.errors import DataError
from .base import Array

LARGEST = 1e30
"""What is larger, or "nan", is no number: its square does not fit into float64."""
MOST_CATEGORIES = 1000
"""Above it a column is an identifier or free text, and no category."""


@dataclass(frozen=True)
class Features:
    """What a table's columns became.

    Attributes:
        x: Training rows, float32.  # [n, F]
        test_x: Test rows, float32.  # [m, F]
        fitted: What was learnt from the training rows, in words: empty where all of it was given.
    """

    x: Array
    test_x: Array
    fitted: tuple[str, ...]


def features(
    train: Mapping[str, Array],
    test: Mapping[str, Array],
    categories: Mapping[str, Sequence[str]],
    ranges: Mapping[str, Sequence[float]],
) -> Features:
    """Return the features of two tables with the same columns.

    A column whose known values are all numbers in the training rows is one feature: with a range [low, high]
    it is cut off there and brought to [0, 1], and a missing value becomes 0.5; without, it has mean 0 and
    deviation 1 over the training rows, and a missing value becomes 0. Any other column is a category: one
    feature of 0 or 1 for each of its values, in sorted order or as given; a missing or unknown value leaves
    them all 0.

    Args:
        train: The training rows' words by column; what is missing is "".  # [n] each
        test: Test rows, likewise.  # [m] each
        categories: The values of columns that are categories in any case; an empty list: those that the
            training rows have.
        ranges: The range of columns that are numbers in any case.

    Raises:
        DataError: A column that is neither.
    """
    parts, tested, fitted = [], [], []
    for name, words in train.items():
        column = _column(name, words, categories, ranges)
        parts.append(column.of(words))
        tested.append(column.of(test[name]))
        fitted += [column.learnt] if column.learnt else []
    return Features(np.hstack(parts), np.hstack(tested), tuple(fitted))


def numbers(words: Array) -> Array | None:
    """Return words as float64, NaN for "", or None where one is no number up to ``LARGEST``.  # [n]"""
    known = words != ""
    values = np.full(len(words), np.nan)
    try:
        values[known] = words[known].astype(np.float64)
    except ValueError:
        return None
    return values if (np.abs(values[known]) <= LARGEST).all() else None


@dataclass(frozen=True)
class _Number:
    name: str
    middle: float
    width: float
    least: float
    most: float
    missing: float
    learnt: str

    def of(self, words: Array) -> Array:
        """Return the feature of a table's column, float32.  # [n, 1]"""
        values = numbers(words)
        if values is None:
            wrong = next(w for w in words.tolist() if w and numbers(np.array([w])) is None)
            raise DataError(f"column {self.name!r} holds numbers, and also {wrong!r}")
        scaled = np.clip((values - self.middle) / self.width, self.least, self.most)
        found: Array = np.where(np.isnan(values), self.missing, scaled).astype(np.float32)
        return found[:, None]


@dataclass(frozen=True)
class _Category:
    known: tuple[str, ...]
    learnt: str

    def of(self, words: Array) -> Array:
        """Return a feature for each known value, float32.  # [n, number of values]"""
        found: Array = words[:, None] == np.array(self.known)
        return found.astype(np.float32)


def _column(
    name: str,
    words: Array,
    categories: Mapping[str, Sequence[str]],
    ranges: Mapping[str, Sequence[float]],
) -> _Number | _Category:
    if name in ranges:
        low, high = ranges[name]
        return _Number(name, low, high - low, 0.0, 1.0, 0.5, "")
    values = None if name in categories else numbers(words)
    if values is None and name not in categories and (odd := _odd_one(words)):
        raise DataError(
            f"column {name!r} holds numbers, and also {odd!r}: leave cells that are not known empty, or name "
            "the column in categories"
        )
    if values is None:
        return _category(name, words, tuple(categories.get(name, ())))
    if np.isnan(values).all():
        raise DataError(f"column {name!r} is empty in the training rows: leave it out (columns)")
    spread = float(np.nanstd(values))
    width = spread if spread > 0 else 1.0
    return _Number(name, float(np.nanmean(values)), width, -np.inf, np.inf, 0.0, f"the scale of {name}")


def _odd_one(words: Array) -> str | None:
    """Return a word that is no number among words of which most are; None where most are none."""
    some = np.unique(words[words != ""])[:MOST_CATEGORIES].tolist()
    odd = [word for word in some if numbers(np.array([word])) is None]
    return odd[0] if odd and 2 * len(odd) < len(some) else None


def _category(name: str, words: Array, given: tuple[str, ...]) -> _Category:
    known = given or tuple(sorted(set(words.tolist()) - {""}))
    if len(known) > MOST_CATEGORIES:
        raise DataError(
            f"column {name!r} has {len(known)} different words, at most {MOST_CATEGORIES} make a category: "
            f"leave it out (columns); the first is {known[0]!r}"
        )
    return _Category(known, "" if given else f"the categories of {name}")


def sorted_words(words: Array) -> list[str]:
    """Return the different words of a column: numbers by size, and before words."""
    return sorted(set(words.tolist()), key=_in_order)


def _in_order(word: str) -> tuple[bool, float, str]:
    """Sort numbers by size, and before words."""
    value = numbers(np.array([word]))
    return (True, 0.0, word) if value is None else (False, float(value[0]), word)


def codes(source: str, words: Array, classes: Array) -> Array:
    """Return each word's class, int64.  # [n]

    Args:
        source: Where the words are from, for messages.
        words: The column of labels.  # [n]
        classes: The word of each class.  # [C]

    Raises:
        DataError: A word that is none of the classes.
    """
    order = np.argsort(classes)
    places = order[np.searchsorted(classes, words, sorter=order).clip(max=len(classes) - 1)]
    if (wrong := words[classes[places] != words]).size:
        some = ", ".join(classes[:10].tolist())
        raise DataError(f"{source}: label {str(wrong[0])!r} is none of the classes {some}")
    found: Array = places.astype(np.int64)
    return found
