"""``gauntlet explain``: what a column of a table means, a value in it, or a mark beside it."""

import re

from ..core.errors import ScenarioError, unknown
from .glossary.columns import TABLES
from .glossary.printed import ENDS, SHOWN
from .glossary.reasons import VALUES

_BESIDE = "pictures"  # a table whose columns are told where no other has them


def explain(what: str) -> list[str]:
    """Return in lines what a word of the tables means.

    Args:
        what: ``"column"``, ``"table.column"``, ``"table"``, or ``"column=value"``; of a column with few
            values also the value alone. Capitals, blanks and units of printed heads do not count.

    Raises:
        ScenarioError: There is no such table, column or value.
    """
    word, equals, value = what.strip().partition("=")
    if equals:
        return [_value(word.rpartition(".")[2], value.strip("\"' "))]
    found = _columns(word) or _whole_table(word) or _of_values(word) or _ends(word)
    if not found:
        values = {value for named in VALUES.values() for value in named}
        raise ScenarioError(
            unknown("table, column or value", what, [*TABLES, *SHOWN, *names(), *VALUES, *values])
        )
    return found


def names() -> list[str]:
    """Return the columns of all tables, each once."""
    printed = [name for _, columns in SHOWN.values() for name in columns]
    return list(dict.fromkeys([*(name for table in TABLES.values() for name in table), *printed]))


def _value(column: str, value: str) -> str:
    if column not in VALUES:
        raise ScenarioError(unknown("column of few values", column, VALUES))
    if value not in VALUES[column]:
        raise ScenarioError(unknown(f"value of {column}", value, VALUES[column]))
    return f"{column} = {value}: {VALUES[column][value]}"


def _columns(word: str) -> list[str]:
    """Return what a column means in every table that has it, and its values."""
    table, _, column = word.rpartition(".") if word.partition(".")[0] in (*TABLES, *SHOWN) else ("", "", word)
    found = [
        f"{name}.{column} ({name}.parquet): {columns[column]}"
        for name, columns in TABLES.items()
        if column in columns and table in ("", name)
    ]
    for name, (place, columns) in SHOWN.items():
        if table in ("", name) and not (name == _BESIDE and found):
            heads = [head for head in columns if _plain(head) == _plain(column)]
            found += [f"{name}.{head} ({place}): {columns[head]}" for head in heads]
    listed = VALUES.get(column.lower(), {}) if found or column.lower() in VALUES else {}
    return [*found, *(f"  {column.lower()} = {value}: {text}" for value, text in listed.items())]


def _plain(head: str) -> str:
    """Return a head without capitals, blanks and its unit."""
    return re.sub(r"[\s_]+", "_", re.sub(r"\s*\((%|dB|rounds)\)", "", head).strip().lower())


def _whole_table(word: str) -> list[str]:
    plain = word.removesuffix(".parquet").removesuffix(".csv")
    columns = TABLES.get(plain) or SHOWN.get(plain, ("", {}))[1]
    return [f"{name}: {text}" for name, text in columns.items()]


def _of_values(word: str) -> list[str]:
    """Return what a value, or a mark such as ``(C)``, means in every column that has it."""
    bare = word.strip("() ")
    return [f"{column} = {bare}: {named[bare]}" for column, named in VALUES.items() if bare in named]


def _ends(word: str) -> list[str]:
    """Return what a column says of another one's spread."""
    end = next((end for end in ENDS if word.endswith(end)), None)
    about = _columns(word.removesuffix(end)) if end else []
    return [f"{ENDS[end]} of:", *about] if end and about else []
