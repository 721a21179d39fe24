"""Objects of this process in the place of plug-ins' names: a defense of a notebook, a data set in memory.

A scenario stays plain values: it holds ``live:Class-digest``, the name under which the object is held here
for as long as the process lives. The digest is of code and values (``live_digest``), so that an equal object
of another process has the same name, and a run with another one has another fingerprint. Objects travel to
this process's own workers with the specs that name them, by Ray's serialisation; no file ever holds one.
"""

import copy
import copyreg
import dataclasses
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any

from .errors import PluginError
from .outside import refuse_distrusted, source_of

PREFIX = "live:"
_NAME = re.compile(r"live:\w+-[0-9a-f]{16}")  # also behind a scheme, as in torch:live:...
_held: dict[str, Any] = {}


def hold(thing: Any) -> str:
    """Hold an object under a name of its own, and return the name.

    Modules of torch are held as they are now: what trains them later changes no run.
    """
    from .live_digest import digest_of

    kind = thing if isinstance(thing, type | FunctionType) else type(thing)
    called = "".join(c if c.isalnum() or c == "_" else "_" for c in kind.__name__)
    name = f"{PREFIX}{called}-{digest_of(thing)}"
    if name not in _held:
        _held[name] = copy.deepcopy(thing) if _is_module(thing) else thing
    return name


def is_live(name: str) -> bool:
    """Return whether a plug-in's name stands for an object of a process."""
    return name.startswith(PREFIX)


def class_of(name: str) -> str:
    """Return the readable part of a live object's name."""
    return name.removeprefix(PREFIX).rpartition("-")[0]


def found(name: str, noun: str) -> Callable[..., Any]:
    """Return the class or function of that name, or what hands the object out.

    Raises:
        PluginError: This process holds none of that name, or whoever names it may name our own code alone.
    """
    refuse_distrusted(f"{noun} '{name}'", "an object of this process")
    if name not in _held:
        raise PluginError(f"{noun} '{name}' {ABSENT}")
    thing = _held[name]
    factory: Callable[..., Any] = thing if isinstance(thing, type | FunctionType) else Single(thing)
    return factory


ABSENT = (
    "is an object of a Python process, and this one does not hold it: hand the same object over in Python, "
    "gauntlet.resume(folder, objects=[...])"
)


class Single:
    """What hands out one object, and has its methods and declarations, as the object's class would."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __call__(self) -> Any:
        return copy.deepcopy(self.thing) if _is_module(self.thing) else self.thing

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.thing, name)


def live_names(values: Any) -> list[str]:
    """Return the names of live objects that plain values hold, each once."""
    return list(dict.fromkeys(name for text in _texts(values) for name in _NAME.findall(text)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(part)


def absent(values: Any) -> list[str]:
    """Return the names of live objects that plain values hold, and this process does not."""
    return [name for name in live_names(values) if name not in _held]


def carried(values: Any) -> "Carried | None":
    """Return the objects that plain values name, to be taken along to another process; None without any."""
    names = [name for name in live_names(values) if name in _held]
    return Carried({name: _held[name] for name in names}) if names else None


@dataclass(frozen=True)
class Carried:
    """Objects on their way to a worker of this process; one that arrives is held there."""

    objects: Mapping[str, Any]

    def __reduce__(self) -> tuple[Any, ...]:
        _keep_sentinels()
        for thing in self.objects.values():
            _by_value(thing if isinstance(thing, type | FunctionType) else type(thing))
        return _arrived, (dict(self.objects),)


def _arrived(objects: Mapping[str, Any]) -> Carried:
    for name, thing in objects.items():
        _held.setdefault(name, thing)
    return Carried(objects)


def _keep_sentinels() -> None:
    """Have dataclasses keep the objects that stand for "no default", which are told by their identity."""
    for name in ("MISSING", "_HAS_DEFAULT_FACTORY"):
        if (sentinel := getattr(dataclasses, name, None)) is not None:
            copyreg.pickle(type(sentinel), partial(_by_name, name))


def _by_name(name: str, _: object) -> str:
    """Return the name under which pickle finds an object in its module."""
    return name


def _by_value(kind: Any) -> None:
    """Have Ray take the whole of a class along whose module no other process could import."""
    module = sys.modules.get(kind.__module__)
    if module is None or kind.__module__ == "__main__" or "ray" not in sys.modules:
        return
    source = source_of(kind.__module__)
    if source is None or str(source) != getattr(module, "__file__", None):
        from ray import cloudpickle

        if getattr(module, "__file__", None):
            cloudpickle.register_pickle_by_value(module)


def hold_all(things: Iterable[Any]) -> list[str]:
    """Hold objects that are handed over for a run that names them, and return their names."""
    return [hold(thing) for thing in things]


def _is_module(thing: Any) -> bool:
    from torch import nn

    return isinstance(thing, nn.Module)
