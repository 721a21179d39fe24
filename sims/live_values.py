"""From live objects in a scenario to its plain values.

An object whose class is found by name becomes that name, with its fields as options: of a built-in the name
that scenarios use, of an importable class ``module:Class``. Such a scenario is as good as its file. All else
(a class of a notebook or script, an object that is more than its fields) is held in this process, see
``core.live``.
"""

import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache, partial
from types import FunctionType
from typing import Any

from pydantic import BaseModel

from ..core.contracts import LocalTraining
from ..core.errors import ScenarioError, shown
from ..core.live import hold
from ..core.options import options_of
from ..core.outside import bound_names, source_of
from .families import family, family_names
from .live_data import described_data

_PLAIN = (str, int, float)


def plain_values(value: Any, section: str = "") -> Any:
    """Return a scenario's value with every live object described; plain values and sections stay.

    Args:
        value: What a keyword was given.
        section: The keyword that it stands under.
    """
    if value is None or isinstance(value, _PLAIN):
        return value
    value = described_data(value) if section == "data" else value
    if isinstance(value, BaseModel):
        return value
    if isinstance(value, Mapping):
        return _table(value, section)
    if isinstance(value, list | tuple):
        return [plain_values(one, section) for one in value]
    if isinstance(value, LocalTraining):
        return {k: v for k, v in options_of(value).items() if v is not None}
    if hasattr(value, "item") and getattr(value, "shape", None) == ():  # a number of numpy's
        return value.item()
    return _torch(value) if section == "data" and _is_map_style(value) else _described(value)


def _is_map_style(value: Any) -> bool:
    """Return whether this is a data set of torch, an object or a class, and no plug-in."""
    kind = value if isinstance(value, type) else type(value)
    own = any(callable(getattr(kind, verb, None)) for verb in ("load", "populate"))
    return not own and all(callable(getattr(kind, verb, None)) for verb in ("__getitem__", "__len__"))


def _torch(value: Any) -> str:
    return f"torch:{_named(value) if isinstance(value, type) else hold(value)}"


def _table(value: Mapping[Any, Any], section: str) -> dict[Any, Any]:
    """Return a table; an object under its ``name`` brings its own options, which those beside it replace."""
    told = {key: plain_values(one, section if key == "name" else "") for key, one in value.items()}
    named = told.get("name")
    return (
        {**told, **named, **{k: v for k, v in told.items() if k != "name"}}
        if isinstance(named, dict)
        else told
    )


def _described(thing: Any) -> str | dict[str, Any]:
    if isinstance(thing, type | FunctionType):
        return _named(thing)
    if isinstance(thing, partial):
        return _of_partial(thing)
    options = _options(thing)
    return hold(thing) if options is None else {"name": _named(type(thing)), **options}


def _of_partial(made: partial[Any]) -> dict[str, Any]:
    """Return a class or function with some of its options given: these are its options in the scenario.

    Raises:
        ScenarioError: They are given in order, or are no plain values, or it is of neither.
    """
    called = getattr(made.func, "__name__", shown(made.func))
    if not isinstance(made.func, type | FunctionType):
        raise ScenarioError(f"functools.partial must be of a class or a function, got {called}")
    if made.args:
        raise ScenarioError(
            f"functools.partial({called}, ...) must give options by keyword, got {shown(made.args)}"
        )
    for key, value in made.keywords.items():
        if not _is_plain(value):
            raise ScenarioError(
                f"functools.partial({called}, {key}=...): options must be plain values, got {shown(value)}; "
                "write a class or a function of your own"
            )
    return {"name": _named(made.func), **{key: _listed(value) for key, value in made.keywords.items()}}


def _options(thing: Any) -> dict[str, Any] | None:
    """Return an object's fields as options; None where a class and plain options do not make it again."""
    if not is_dataclass(thing) or isinstance(thing, type):
        return None
    own = {f.name: getattr(thing, f.name) for f in fields(thing)}
    whole = all(f.init for f in fields(thing)) and set(getattr(thing, "__dict__", own)) <= own.keys()
    return {k: _listed(v) for k, v in own.items()} if whole and all(map(_is_plain, own.values())) else None


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or type(value) in (str, int, float, bool)


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _listed(v) for k, v in value.items()}
    return [_listed(one) for one in value] if isinstance(value, list | tuple) else value


def _named(kind: Any) -> str:
    """Return the name of a class or function: a built-in's, ``module:Class``, or a live one's."""
    target = f"{kind.__module__}:{kind.__qualname__}"
    if target in _built_in():
        return _built_in()[target]
    return target if _importable(kind) else hold(kind)


@cache
def _built_in() -> dict[str, str]:
    """Return the names of built-in plug-ins by where they are; the class's place where it has several."""
    found: dict[str, str] = {}
    for name in family_names():
        for called, target in family(name).table.items():
            found[target] = called if found.get(target, called) == called else target
    return found


def _importable(kind: Any) -> bool:
    """Return whether any process of this user finds a class under its module's name."""
    if kind.__module__ == "__main__" or "." in kind.__qualname__ or "<" in kind.__qualname__:
        return False
    source = source_of(kind.__module__)
    names = None if source is None else bound_names(source)
    loaded = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return names is not None and kind.__name__ in names and str(source) == str(loaded)
