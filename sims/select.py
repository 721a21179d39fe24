"""Take a part of some runs by what their scenarios say, as ``gauntlet plot --only`` does."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..core.errors import ScenarioError
from .overrides import parse
from .results import Run

_MISSING = object()


def only(runs: Sequence[Run], conditions: Iterable[str]) -> list[Run]:
    """Return the runs for which every ``key.path=value`` holds; a plug-in's name stands for its table.

    Raises:
        ScenarioError: A condition without ``=``, or one that holds for no run.
    """
    found = list(runs)
    for condition in conditions:
        path, value = parse(condition, "--only")
        there = [_at(run.manifest["scenario"], path) for run in found]
        kept = [run for run, one in zip(found, there, strict=True) if value in (one, _named(one))]
        if found and not kept:
            known = dict.fromkeys(str(_named(one)) for one in there if one is not _MISSING)
            said = f"it is {', '.join(known)}" if known else "no run has that key"
            raise ScenarioError(f"--only {condition} leaves no run: {said}")
        found = kept
    return found


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
