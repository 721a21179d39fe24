"""From a table's columns to features: numbers and categories, and what was learnt from training rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...core.errors import DataError
from .column import NOT_KNOWN, Array, At, Column, are_odd, day_of, days, numbers, refuse_odd

MOST_CATEGORIES = 1000
"""Above it a column is an identifier or free text, and no category."""


MANY_CATEGORIES = 50
"""Above it a run says which column became so many features."""


@dataclass(frozen=True)
class Features:
    """What a table's columns became.

    Attributes:
        x: Training rows, float32.  # [n, F]
        test_x: Test rows, float32.  # [m, F]
        columns: How each column became features, in order.
        fitted: What was learnt from the training rows, in words: empty where all of it was given.
        notes: What a reader should know of them, a line each.
    """

    x: Array
    test_x: Array
    columns: tuple[Column, ...]
    fitted: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Given:
    """What a scenario says of a table's columns.

    Attributes:
        categories: The values of columns that are categories in any case; an empty list: those that the
            training rows have.
        ranges: The range of columns that are numbers or dates in any case, as numbers.
        dates: Columns of dates.
    """

    categories: Mapping[str, Sequence[str]]
    ranges: Mapping[str, tuple[float, float]]
    dates: Sequence[str] = ()


def features(
    train: Mapping[str, Array], test: Mapping[str, Array], given: Given, at: tuple[At, At]
) -> Features:
    """Return the features of two tables with the same columns.

    A column whose known values are all numbers in the training rows is one feature: with a range [low, high]
    it is cut off there and brought to [0, 1], and a missing value becomes 0.5; without, it has mean 0 and
    deviation 1 over the training rows, and a missing value becomes 0. Any other column is a category: one
    feature of 0 or 1 for each of its values, in sorted order or as given; a missing or unknown value leaves
    them all 0. In columns of numbers ``NOT_KNOWN`` are missing values, too.

    Args:
        train: The training rows' words by column; what is missing is "".  # [n] each
        test: Test rows, likewise.  # [m] each
        given: What is said of columns.
        at: Where rows of both stand, for messages.

    Raises:
        DataError: A column that is neither.
    """
    parts, tested, columns, fitted, notes = [], [], [], [], []
    for name, words in train.items():
        column, learnt = _column(name, words, given, at[0])
        parts.append(column.of(words, at[0]))
        tested.append(column.of(test[name], at[1]))
        columns.append(column)
        fitted += [learnt] if learnt else []
        notes += [_many(column)] if len(column.known) > MANY_CATEGORIES and learnt else []
    return Features(np.hstack(parts), np.hstack(tested), tuple(columns), tuple(fitted), tuple(notes))


def _column(name: str, words: Array, given: Given, at: At) -> tuple[Column, str]:
    """Return how a column becomes features, and what was learnt from it in words."""
    kind: Literal["number", "date"] = "date" if name in given.dates else "number"
    if name in given.ranges:
        low, high = given.ranges[name]
        return Column(name, kind, (), low, high - low, 0.0, 1.0, 0.5), ""
    if kind == "date":
        values: Array | None = days(name, words, at)
    else:
        values = None if name in given.categories else numbers(words, NOT_KNOWN)
    if values is None:
        if name not in given.categories:
            _refuse_mixed(name, words, at)
        return _category(name, words, tuple(given.categories.get(name, ())))
    if np.isnan(values).all():
        raise DataError(f"column {name!r} is empty in the training rows: leave it out (columns)")
    spread = float(np.nanstd(values))
    width = spread if spread > 0 else 1.0
    return Column(name, kind, (), float(np.nanmean(values)), width), f"the scale of {name}"


def _refuse_mixed(name: str, words: Array, at: At) -> None:
    """Raise ``DataError`` where most of a column's different words are numbers, and some are none."""
    odd = are_odd(words)
    others, known = np.unique(words[odd]), np.unique(words[~np.isin(words, ["", *NOT_KNOWN])])
    if len(others) and 2 * len(others) < len(known):
        refuse_odd(name, words, odd, at)


def _category(name: str, words: Array, given: tuple[str, ...]) -> tuple[Column, str]:
    known = given or tuple(sorted(set(words.tolist()) - {""}))
    if len(known) > MOST_CATEGORIES:
        raise DataError(
            f"column {name!r} has {len(known)} different words, at most {MOST_CATEGORIES} make a category: "
            f"{_otherwise(name, known)}; the first is {known[0]!r}"
        )
    return Column(name, "category", known), "" if given else f"the categories of {name}"


def _many(column: Column) -> str:
    return (
        f"column {column.name!r} is a category of {len(column.known)} different words, a feature each: "
        f"{_otherwise(column.name, column.known)}"
    )


def _otherwise(name: str, known: Sequence[str]) -> str:
    """Return what to do with a column of very many words."""
    without = "name the features' columns without it (columns) to leave it out"
    if all(np.isfinite(day_of(word)) for word in known):
        return f'they are dates, dates = ["{name}"] makes one number of them, in days; or {without}'
    return without


def sorted_words(words: Array) -> list[str]:
    """Return the different words of a column: numbers by size, and before words."""
    return sorted(set(words.tolist()), key=_in_order)


def _in_order(word: str) -> tuple[bool, float, str]:
    """Sort numbers by size, and before words."""
    value = numbers(np.array([word]))
    return (True, 0.0, word) if value is None else (False, float(value[0]), word)


def codes(source: str, words: Array, classes: Array, at: At | None = None) -> Array:
    """Return each word's class, int64.  # [n]

    Args:
        source: Where the words are from, for messages.
        words: The column of labels.  # [n]
        classes: The word of each class.  # [C]
        at: Where rows stand, for messages.

    Raises:
        DataError: A word that is none of the classes.
    """
    order = np.argsort(classes)
    places = order[np.searchsorted(classes, words, sorter=order).clip(max=len(classes) - 1)]
    if (wrong := np.flatnonzero(classes[places] != words)).size:
        some, where = ", ".join(classes[:10].tolist()), f" ({at(wrong)})" if at else ""
        raise DataError(f"{source}: label {str(words[wrong[0]])!r}{where} is none of the classes {some}")
    found: Array = places.astype(np.int64)
    return found
