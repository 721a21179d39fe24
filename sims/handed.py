"""What Python callers hand over, looked at before anything is done with it: one line says what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ScenarioError, shown

if TYPE_CHECKING:
    from .progress import Progress

_WATCHES = ("begin", "advance", "end", "note", "close")  # the methods of a ``Progress``


def path_of(value: Any, what: str, kinds: str = "a path") -> Path:
    """Return a path.

    Args:
        value: A word or a path.
        what: How messages call it.
        kinds: What messages say it must be.

    Raises:
        ScenarioError: It is neither.
    """
    if not isinstance(value, str | PathLike) or not isinstance(fspath(value), str):
        raise ScenarioError(f"{what} must be {kinds}, got {shown(value)}")
    return Path(value)


def no_run(folder: Path) -> str:
    """Return why a folder is none of a run, and where a run is, for messages."""
    runs = sorted(folder.glob("run-*/manifest.json")) if (folder / "sweep.json").is_file() else []
    if not runs:
        return f"{folder} holds no run (no manifest.json)"
    return (
        f"{folder} holds no run, but the {len(runs)} of a sweep: name one of them, {runs[0].parent}, or take "
        "gauntlet.load_sweep for all"
    )


def list_of(values: Any, what: str) -> list[Any]:
    """Return the members of a list, a tuple, an array or what else gives them one after the other.

    Raises:
        ScenarioError: It is one thing: a word is no list of letters, a module none of layers.
    """
    one = isinstance(values, str | bytes | Mapping | type) or callable(values)
    if one or not isinstance(values, Iterable):
        raise ScenarioError(f"{what} must be a list, got {shown(values)}")
    return list(values)


def callbacks_of(values: Any) -> list[Callable[[dict[str, Any]], Any]]:
    """Return callbacks.

    Raises:
        ScenarioError: It is no list, or one of them cannot be called.
    """
    for one in (found := list_of(values, "callbacks")):
        if not callable(one):
            raise ScenarioError(f"callbacks must be functions of a round's row, got {shown(one)}")
    return found


def progress_of(value: Any) -> Progress | bool | None:
    """Return what shows progress.

    Raises:
        ScenarioError: It is neither a truth value nor has it the methods of a ``Progress``.
    """
    lacks = [name for name in _WATCHES if not callable(getattr(value, name, None))]
    if value is None or isinstance(value, bool) or (not lacks and not isinstance(value, type)):
        found: Progress | bool | None = value
        return found
    raise ScenarioError(
        f"progress must be True, False or an object with {', '.join(_WATCHES)}, got {shown(value)}"
    )


def pairs_of(overrides: Any, parse: Callable[[str], tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the paths and values of overrides: a table, or a list of pairs and of words to be parsed.

    Raises:
        ScenarioError: It is neither, or one of them is no pair.
    """
    found = []
    for one in overrides.items() if isinstance(overrides, Mapping) else list_of(overrides, "overrides"):
        pair = parse(one) if isinstance(one, str) else one
        if not (isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str)):
            raise ScenarioError(f"an override must be 'key=value' or a pair of both, got {shown(one)}")
        found.append((pair[0], pair[1]))
    return found


def crossed_of(over: Any) -> dict[str, list[Any]]:
    """Return the values of each key that a sweep goes over.

    Raises:
        ScenarioError: It is no table of lists.
    """
    if not isinstance(over, Mapping):
        raise ScenarioError(f"over must be a table of lists by key, got {shown(over)}")
    return {str(key): list_of(values, f"over['{key}']") for key, values in over.items()}
