"""Public attributes of a plug-in that no table knows: a misspelt declaration is silent otherwise."""

from collections.abc import Collection
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any, Generic, Protocol

from ..errors import PASSED, PluginError
from .declaration import Declaration, Table

_ALIKE = 0.8  # difflib's ratio from which two names resemble each other: need_root, needs_root: 0.95


def refuse_misdeclared(plugin: object, table: type[Table], known: Collection[str], who: str) -> None:
    """Refuse a plug-in that declares a value of a wrong type, or something under a name like a declaration's.

    Args:
        plugin: The plug-in as configured.
        table: What its family may declare.
        known: Its family's verbs and its own options, which may be called what they like.
        who: What messages call it.

    Raises:
        PluginError: The first such thing.
    """
    for name in strangers(plugin, table, known):
        if right := resembled(name, table):
            raise PluginError(
                f"{who}: '{name}' is no declaration; did you mean '{right}'? A helper's name "
                "begins with an underscore"
            )
    for declaration in table.rows().values():
        _check(plugin, declaration, who)


def _check(plugin: object, declaration: Declaration[Any], who: str) -> None:
    try:
        value = getattr(plugin, declaration.name, declaration.careful)
    except PASSED:
        raise
    except Exception:
        return  # a property that cannot answer before the run fills in options: whoever reads it says so
    declaration.checked(value, lambda: who)


def strangers(plugin: object, table: type[Table], known: Collection[str]) -> list[str]:
    """Return a plug-in's public attributes that are neither declarations, nor verbs, nor options, by name."""
    options = {f.name for f in fields(plugin)} if is_dataclass(plugin) else set()
    classes = [c for c in type(plugin).__mro__ if c not in (object, Protocol, Generic)]
    found = {name for c in classes for name in vars(c)} | set(getattr(plugin, "__dict__", ()))
    public = {name for name in found if not name.startswith("_")}
    return sorted(public - options - set(known) - table.rows().keys())


def resembled(name: str, table: type[Table]) -> str | None:
    """Return the declaration that a name resembles, whatever its case; None where there is none."""
    right = {row.lower(): row for row in table.rows()}
    near = get_close_matches(name.lower(), right, n=1, cutoff=_ALIKE)
    return right[near[0]] if near else None
