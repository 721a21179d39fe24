"""Take a part of some runs by what their scenarios say, as ``gauntlet plot --only`` does."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..core.errors import ScenarioError
from .naming import class_name, means
from .overrides import parse
from .results import Run

_MISSING = object()


def only(runs: Sequence[Run], conditions: Iterable[str]) -> list[Run]:
    """Return the runs for which every ``key.path=value`` holds; values of one key allow each other.

    A plug-in's name stands for its table; one of a file is named by its class, or by ``file.py:Class``.

    Raises:
        ScenarioError: A condition without ``=``, or one that holds for no run.
    """
    wanted: dict[str, list[tuple[str, Any]]] = {}
    for condition in conditions:
        path, value = parse(condition, "--only")
        wanted.setdefault(path, []).append((condition, value))
    found = list(runs)
    for path, values in wanted.items():
        there = [_at(run.manifest["scenario"], path) for run in found]
        for condition, value in values:
            if found and not any(_holds(value, one) for one in there):
                known = dict.fromkeys(class_name(str(_named(one))) for one in there if one is not _MISSING)
                said = f"it is {', '.join(known)}" if known else "no run has that key"
                raise ScenarioError(f"--only {condition} leaves no run: {said}")
        kept = [any(_holds(value, one) for _, value in values) for one in there]
        found = [run for run, one in zip(found, kept, strict=True) if one]
    return found


def _holds(value: Any, one: Any) -> bool:
    return bool(value == one) or means(value, _named(one))


def _at(scenario: Any, path: str) -> Any:
    for key in path.split("."):
        if isinstance(scenario, list) and key.isdigit() and int(key) < len(scenario):
            scenario = scenario[int(key)]
        elif isinstance(scenario, Mapping) and key in scenario:
            scenario = scenario[key]
        else:
            return _MISSING
    return scenario


def _named(value: Any) -> Any:
    return value.get("name", value) if isinstance(value, Mapping) else value
