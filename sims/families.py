"""Every family of plug-ins under one roof, for listing, checking and scaffolding."""

import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from ..core.declarations import Table
from ..core.errors import PluginError, unknown
from ..core.registry import Family, load_module
from .places import PLACES


def family_names() -> list[str]:
    """Return the names of all families."""
    return list(PLACES)


def family(name: str) -> Family[Any]:
    """Return a family by its name.

    Raises:
        PluginError: There is no such family.
    """
    if name not in PLACES:
        raise PluginError(unknown("family", name, PLACES))
    place, _, attribute = PLACES[name].partition(":")
    found: Family[Any] = getattr(import_module(place), attribute)
    return found


def checks(name: str) -> Sequence[Callable[[Any], None]]:
    """Return what every member of a family owes: functions that raise ``PluginError``."""
    place = PLACES[name].partition(":")[0]
    contract = import_module(f"{place}.contract")
    noun = family(name).noun.upper().replace(" ", "_").replace("-", "_")
    own = f"{noun}_CHECKS"  # a folder with several families has one tuple for each
    found: Sequence[Callable[[Any], None]] = getattr(contract, own if hasattr(contract, own) else "CHECKS")
    return found


def families_of(plugin: str) -> list[str]:
    """Return the families that a plug-in belongs to: by its name, or for ``place:Class`` by its verbs.

    Raises:
        PluginError: No family knows the name, or the class has no family's verbs, or a file is named without
            a class.
    """
    if ":" not in plugin:
        if plugin.endswith(".py"):
            raise PluginError(_nameless(plugin))
        found = [n for n in PLACES if plugin in family(n).names()]
        if not found:
            every = {name for n in PLACES for name in family(n).names()}
            raise PluginError(unknown("plug-in", plugin, every))
        return found
    if schemes := [n for n in PLACES if plugin.partition(":")[0] in family(n).schemes]:
        return schemes
    found = _fitting(Family[Any]("any", "plug-in", (), {}).find(plugin))
    if not found:
        raise PluginError(f"plug-in '{plugin}' has no family's methods. A member needs: {_wanted()}")
    return found


def _fitting(loaded: Any) -> list[str]:
    """Return the families whose methods a class has: of an algorithm, not the optimizer that it brings."""
    found = {n: family(n).declares for n in PLACES if family(n).fits(loaded)}
    brought = {
        n
        for n, own in found.items()
        for whole in found.values()
        if own is not Table and whole is not own and issubclass(whole, own)
    }
    return [n for n in found if n not in brought]


def _wanted() -> str:
    """Return in words which methods each family needs."""
    every = {n: ", ".join(family(n).verbs) or " or ".join(family(n).either) for n in PLACES}
    return "; ".join(f"{n}: {verbs}" for n, verbs in every.items() if verbs)


def _nameless(file: str) -> str:
    """Return the message for a file without a class: which of its classes could be meant."""
    module = load_module(file, f"plug-in file '{file}'")
    own = {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    meant = {name: _fitting(value) for name, value in own.items()}
    if told := [f"{file}:{name} ({', '.join(kinds)})" for name, kinds in meant.items() if kinds]:
        return f"'{file}' is a file: name one of its classes, {' or '.join(told)}"
    held = f"its classes ({', '.join(own)}) have no family's methods" if own else "it has no class"
    return f"'{file}' is a file: name a class in it, as in {file}:Class; {held}. A member needs: {_wanted()}"
