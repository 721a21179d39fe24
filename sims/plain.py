"""Plain values from outside, TOML or JSON: looked at before anything is made of them."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import ScenarioError, shown

DEEPEST = 32  # tables and lists within each other
LARGEST = 2**24  # bytes of a file
LONGEST = 100_000  # members of one list or table, letters of one word


def read_text(path: Path) -> str:
    """Return a text file's content, if it is no larger than any scenario has need to be.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no UTF-8, or larger than 16 MB.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"it holds more than {LARGEST} bytes")
    return content.decode("utf-8").replace("\r\n", "\n")


def read_toml(text: str) -> dict[str, Any]:
    """Return the table that a TOML text stands for.

    Raises:
        ValueError: It is no TOML, is nested too deeply, or holds a number of thousands of digits.
    """
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_json(text: str) -> Any:
    """Return what a JSON text stands for.

    Raises:
        ValueError: It is no JSON, is nested too deeply, or holds a number of thousands of digits.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def plugin_table(value: Any) -> Any:
    """Return a plug-in as a table: a name alone is the plug-in of that name with no option.

    What is no name stays as it is.
    """
    return {"name": value} if isinstance(value, str) else value


def check_plain(value: Any, where: str = "", depth: int = 0) -> None:
    """Raise ``ScenarioError`` unless a value is made of what scenarios are made of.

    That is: truth values, numbers (whole ones of 64 bits), words, and lists and tables of them.
    """
    if depth > DEEPEST:
        raise ScenarioError(f"'{where[:60]} ...' is nested more than {DEEPEST} deep")
    if isinstance(value, Mapping | list | tuple | str) and len(value) > LONGEST:
        raise ScenarioError(f"'{where}' has {len(value)} parts or letters; allowed: up to {LONGEST}")
    if isinstance(value, Mapping):
        for key, one in value.items():
            _check_word(key, where)
            check_plain(one, f"{where}.{key}" if where else str(key), depth + 1)
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            check_plain(one, f"{where}.{number}", depth + 1)
    elif isinstance(value, str):
        _check_word(value, where)
    elif isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        raise ScenarioError(f"'{where}' is {shown(value)}: whole numbers must fit into 64 bits")
    elif not (value is None or isinstance(value, bool | int | float)):
        kinds = "numbers, words, truth values, lists and tables"
        raise ScenarioError(f"'{where}' is {shown(value)}; allowed: {kinds}")


def _check_word(word: object, where: str) -> None:
    """Raise ``ScenarioError`` unless this is a word that can be written into a file, and name one."""
    if not isinstance(word, str):
        raise ScenarioError(f"'{where}' has the key {shown(word)}; keys must be words")
    if "\0" in word or any("\ud800" <= letter <= "\udfff" for letter in word):
        raise ScenarioError(f"'{where}' holds {shown(word)}, a word with letters that no file can hold")
