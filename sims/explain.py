"""``gauntlet explain``: what a column of a result table means, and a value in it."""

from ..core.errors import ScenarioError, unknown
from .glossary.columns import TABLES
from .glossary.reasons import VALUES


def explain(what: str) -> list[str]:
    """Return in lines what a word of the result tables means.

    Args:
        what: ``"column"``, ``"table.column"``, ``"table"``, or ``"column=value"``; of a column with few
            values also the value alone.

    Raises:
        ScenarioError: There is no such table, column or value.
    """
    word, equals, value = what.strip().partition("=")
    if equals:
        return [_value(word.rpartition(".")[2], value.strip("\"' "))]
    found = _columns(word) or _whole_table(word) or _of_values(word)
    if not found:
        values = {value for named in VALUES.values() for value in named}
        columns = {name for table in TABLES.values() for name in table}
        raise ScenarioError(unknown("table, column or value", what, [*TABLES, *columns, *VALUES, *values]))
    return found


def _value(column: str, value: str) -> str:
    if column not in VALUES:
        raise ScenarioError(unknown("column of few values", column, VALUES))
    if value not in VALUES[column]:
        raise ScenarioError(unknown(f"value of {column}", value, VALUES[column]))
    return f"{column} = {value}: {VALUES[column][value]}"


def _columns(word: str) -> list[str]:
    """Return what a column means in every table that has it, and its values."""
    table, _, column = word.rpartition(".")
    found = [
        f"{name}.{column} ({name}.parquet): {columns[column]}"
        for name, columns in TABLES.items()
        if column in columns and table in ("", name)
    ]
    listed = VALUES.get(column, {}) if found or column in VALUES else {}
    return [*found, *(f"  {column} = {value}: {text}" for value, text in listed.items())]


def _whole_table(word: str) -> list[str]:
    columns = TABLES.get(word.removesuffix(".parquet"), {})
    return [f"{name}: {text}" for name, text in columns.items()]


def _of_values(word: str) -> list[str]:
    """Return what a value means in every column that has it."""
    return [f"{column} = {word}: {named[word]}" for column, named in VALUES.items() if word in named]
