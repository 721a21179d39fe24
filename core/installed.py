"""What installed packages offer under Gauntlet's entry points, asked for once in a process."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any


@cache
def _groups() -> Mapping[str, Mapping[str, str]]:
    every: Any = entry_points()
    ours = [group for group in every.groups if group.startswith("gauntlet.")]
    return {
        group.removeprefix("gauntlet."): {e.name: e.value for e in every.select(group=group)}
        for group in ours
    }


def installed(family: str) -> Mapping[str, str]:
    """Return, by name, the ``"module:Class"`` that packages offer to a family."""
    return _groups().get(family, {})


def every_installed() -> dict[str, str]:
    """Return the same of all families together."""
    return {name: place for offered in _groups().values() for name, place in offered.items()}
