"""From a name in a scenario to a plug-in.

A name is one of
    ``median``                      a built-in, from the family's own explicit table
    ``their-name``                  an entry point ``gauntlet.<family>`` of an installed package
    ``package.module:Class``        any importable class or function
    ``path/to/file.py:Class``       one in a single file
    ``scheme:Name``                 one of another library, where the family knows the scheme
Options are the plug-in's dataclass fields: checked by type, and refused with the nearest valid name.
"""

import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import wraps
from hashlib import blake2b
from importlib.metadata import entry_points
from math import isfinite
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar, cast

from .errors import GauntletError, PluginError, unknown
from .untouched import untouched

P = TypeVar("P")


@dataclass(frozen=True)
class Family(Generic[P]):
    """One family of plug-ins.

    Attributes:
        name: The family's name in the plural, also its entry-point group after ``gauntlet.``.
        noun: What one member is called in messages.
        verbs: Methods that a member must have.
        table: From a built-in's name to ``"module:Class"``, so that naming one loads no other.
        schemes: From a scheme to the ``"module:function"`` that finds ``scheme:Name`` by its name.
    """

    name: str
    noun: str
    verbs: tuple[str, ...]
    table: Mapping[str, str]
    schemes: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> list[str]:
        """Return every name that needs no colon: built-ins first, then installed entry points."""
        outside = sorted(e.name for e in entry_points(group=f"gauntlet.{self.name}"))
        return [*self.table, *(n for n in outside if n not in self.table)]

    def find(self, name: str) -> Callable[..., P]:
        """Return the class (or function) behind ``name``, without making one.

        Raises:
            PluginError: Nothing of that name, or it cannot be loaded, or it lacks the family's verb.
        """
        scheme, colon, rest = name.partition(":")
        if colon and scheme in self.schemes:
            found = _load(self.schemes[scheme], self.noun)(rest)
        else:
            found = _load(self._target(name), self.noun)
        missing = [v for v in self.verbs if not callable(getattr(found, v, None))]
        if missing:
            raise PluginError(f"{self.noun} '{name}' has no method {' and no '.join(missing)}")
        return cast(Callable[..., P], found)

    def _target(self, name: str) -> str:
        if name in self.table:
            return self.table[name]
        if ":" in name:
            return name
        for entry in entry_points(group=f"gauntlet.{self.name}"):
            if entry.name == name:
                return entry.value
        raise PluginError(unknown(self.noun, name, self.names()))

    def build(self, name: str, options: Mapping[str, Any] | None = None) -> P:
        """Return the plug-in ``name`` with ``options``.

        Raises:
            PluginError: No such plug-in, an unknown option, or one of the wrong type or out of range.
        """
        return configure(self.find(name), name, options or {})


def configure(factory: Callable[..., P], name: str, options: Mapping[str, Any]) -> P:
    """Return ``factory(**options)`` after checking the options' names and types.

    Raises:
        PluginError: An unknown or missing option, or one of the wrong type, not finite, or out of range.
    """
    parameters = option_names(factory)
    for key in options:
        if parameters is not None and key not in parameters:
            raise PluginError(f"{name}: {unknown('option', key, parameters)}")
        if not _finite(options[key]):
            raise PluginError(f"{name}: option '{key}' is {options[key]!r}: numbers must be finite")
    try:
        if is_dataclass(factory):
            return cast(P, _validated(cast(type, factory), options))
        return factory(**options)
    except GauntletError:
        raise
    except Exception as error:
        raise PluginError(f"{name}: {_reason(error)}") from error


def _finite(value: Any) -> bool:
    """Return whether no number in a plain value is NaN or infinite."""
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    return not isinstance(value, float) or isfinite(value)


def option_names(factory: Callable[..., Any]) -> list[str] | None:
    """Return the options that a plug-in takes, or None where it takes anything."""
    if is_dataclass(factory):
        return [f.name for f in fields(cast(type, factory)) if f.init]
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return [p.name for p in parameters]


def _validated(cls: type, options: Mapping[str, Any]) -> object:
    from pydantic import TypeAdapter

    return TypeAdapter(cls).validate_json(json.dumps(options), strict=True)


def _reason(error: Exception) -> str:
    """Return one line: the first complaint of a validation error, or the error's own words."""
    details = getattr(error, "errors", None)
    if not callable(details):
        return f"{error}" or type(error).__name__
    first = details()[0]
    where = ".".join(str(part) for part in first["loc"])
    words = str(first["msg"]).removeprefix("Value error, ")
    if not where:
        return words
    if first["type"] == "missing":
        return f"option '{where}' is required"
    return f"option '{where}' is {first['input']!r}: {words[0].lower()}{words[1:]}"


def _load(target: str, noun: str) -> Any:
    place, _, attribute = target.rpartition(":")
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except GauntletError:
        raise
    except Exception as error:
        raise PluginError(f"{noun} '{target}' cannot be loaded: {type(error).__name__}: {error}") from error
    if not hasattr(module, attribute):
        public = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise PluginError(f"{place}: {unknown('name', attribute, public)}")
    return getattr(module, attribute)


def _load_file(path: Path) -> ModuleType:
    path = path.expanduser().resolve()
    if not path.is_file():
        raise PluginError(f"no such plug-in file: {path}")
    content = path.read_bytes()
    name = f"gauntlet_plugin_{path.stem}_{blake2b(str(path).encode() + content, digest_size=4).hexdigest()}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"no Python can be read from {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def options_of(plugin: object) -> dict[str, Any]:
    """Return a plug-in's options as plain values, for manifests and specs."""
    plugin = getattr(plugin, "__wrapped__", plugin)
    return asdict(plugin) if is_dataclass(plugin) and not isinstance(plugin, type) else {}


WATCHED = frozenset(
    (
        *("poison", "corrupt", "goal", "privatize", "encode", "deliver", "clip", "secure_sum", "transform"),
        *("aggregate", "noise", "step", "extra", "judge", "reconstruct", "infer"),
    )
)
"""Verbs that run once a round or client, and are handed what is not theirs to write into."""


class _Guard:
    """A plug-in whose exceptions name it, and that leaves what it is handed. All else is handed through."""

    def __init__(self, plugin: object, label: str, watched: bool) -> None:
        self.__wrapped__ = plugin
        self.__label, self.__watched = label, watched

    def __getattr__(self, name: str) -> Any:
        if name == "__wrapped__":  # asked before __init__ ran: a copy in the making
            raise AttributeError(name)
        value = getattr(self.__wrapped__, name)
        if not inspect.ismethod(value):
            return value
        label, watched = self.__label, self.__watched and name in WATCHED

        @wraps(value)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                if watched:
                    with untouched(label, *args, *kwargs.values()):
                        return value(*args, **kwargs)
                return value(*args, **kwargs)
            except GauntletError:
                raise
            except Exception as error:
                raise PluginError(f"{label} raised {type(error).__name__}: {error}") from error

        return guarded


def require(fact: bool, message: str) -> None:
    """Raise ``PluginError(message)`` unless ``fact``: how a family's contract states what is owed."""
    if not fact:
        raise PluginError(message)


def guard(plugin: P, label: str, watched: bool | None = None) -> P:
    """Return ``plugin`` so that whatever it raises becomes a one-line ``PluginError`` naming it.

    Where it is ``watched``, so does a write into what it is handed: by default where it is, or names as an
    option, one from outside. Tests hold those of this package to it, so that they need not pay for the watch.
    """
    return cast(P, _Guard(plugin, label, from_outside(plugin) if watched is None else watched))


def from_outside(plugin: object) -> bool:
    """Return whether a plug-in is not this package's, or names one that is not as an option."""
    plain = getattr(plugin, "__wrapped__", plugin)
    ours = type(plain).__module__.partition(".")[0] == __name__.partition(".")[0]
    return not ours or _names_another(options_of(plain))


def _names_another(options: Any) -> bool:
    if isinstance(options, Mapping):
        return any(map(_names_another, options.values()))
    if isinstance(options, list | tuple):
        return any(map(_names_another, options))
    return isinstance(options, str) and ":" in options
