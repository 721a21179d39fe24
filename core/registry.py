"""From a name in a scenario to a plug-in.

A name is one of
    ``median``                      a built-in, from the family's own explicit table
    ``their-name``                  an entry point ``gauntlet.<family>`` of an installed package
    ``package.module:Class``        any importable class or function
    ``path/to/file.py:Class``       one in a single file
    ``scheme:Name``                 one of another library, where the family knows the scheme
    ``live:Class-digest``           an object of this process, see ``live``
Options are the plug-in's dataclass fields: checked by type, and refused with the nearest valid name.
"""

import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import lru_cache
from hashlib import blake2b
from math import isfinite
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from .declarations.declaration import Table
from .declarations.strangers import refuse_misdeclared
from .errors import PASSED, PluginError, said, shown, unknown, wrong_value
from .installed import installed
from .live import found as live_object
from .live import is_live
from .outside import admit, is_outside, refuse_foreign

if TYPE_CHECKING:
    from pydantic import TypeAdapter

P = TypeVar("P")

LARGEST_FLOAT = 3.4028234663852886e38
"""In float32, in which clients train and updates travel."""


@dataclass(frozen=True)
class Family(Generic[P]):
    """One family of plug-ins.

    Attributes:
        name: The family's name in the plural, also its entry-point group after ``gauntlet.``.
        noun: What one member is called in messages.
        verbs: Methods that a member must have.
        either: Methods of which a member must have one.
        table: From a built-in's name to ``"module:Class"``, so that naming one loads no other.
        schemes: From a scheme to the ``"module:function"`` that finds ``scheme:Name`` by its name.
        refusal: Why something without the verbs, of the name ``place:what``, will not do all the same: the
            message's end; None where it will. By default nothing does.
        declares: What its members may say of themselves besides.
    """

    name: str
    noun: str
    verbs: tuple[str, ...]
    table: Mapping[str, str]
    either: tuple[str, ...] = ()
    schemes: Mapping[str, str] = field(default_factory=dict)
    refusal: Callable[[Any, str], str | None] | None = None
    declares: type[Table] = Table

    def names(self) -> list[str]:
        """Return every name that needs no colon: built-ins first, then installed entry points."""
        return [*self.table, *(n for n in sorted(installed(self.name)) if n not in self.table)]

    def find(self, name: str) -> Callable[..., P]:
        """Return the class (or function) behind ``name``, without making one.

        Raises:
            PluginError: Nothing of that name, or it cannot be loaded, it lacks the family's verb, or it is
                no class or function that was written to be a plug-in.
        """
        scheme, colon, rest = name.partition(":")
        if is_live(name):
            found = live_object(name, self.noun)
        elif colon and scheme in self.schemes:
            found = _load(self.schemes[scheme], self.noun)(rest)
        else:
            found = self._loaded(self._target(name))
        self._refuse_unable(found, name)
        return cast(Callable[..., P], found)

    def _loaded(self, target: str) -> Any:
        outside = is_outside(target) and target not in self.table.values()
        if outside:
            admit(target, self.noun)
        found = _load(target, self.noun)
        if outside:
            kinds = (type,) if self.refusal is None else (type, FunctionType)
            refuse_foreign(found, target, self.noun, kinds)
        return found

    def chosen(self, choice: str | Mapping[str, Any]) -> P:
        """Return the plug-in that an option of another names: by its name, or as a table of name and options.

        Raises:
            PluginError: The table has no name; or as ``build``.
        """
        table = {"name": choice} if isinstance(choice, str) else choice
        name = table.get("name")
        if not isinstance(name, str):
            names = ", ".join(self.names())
            raise PluginError(f"{self.noun} needs a name, one of {names}; got {shown(choice)}")
        return self.build(name, {key: value for key, value in table.items() if key != "name"})

    def fits(self, found: Any) -> bool:
        """Return whether a class has the methods of the family's members."""
        has = {verb for verb in (*self.verbs, *self.either) if callable(getattr(found, verb, None))}
        some = not has.isdisjoint(self.either or self.verbs)
        return some and has.issuperset(self.verbs)

    def _refuse_unable(self, found: Any, name: str) -> None:
        """Raise ``PluginError`` unless a class has the family's verbs, or will do without."""
        missing = [v for v in self.verbs if not callable(getattr(found, v, None))]
        if missing and self.refusal is not None:
            if why := self.refusal(found, name):
                raise PluginError(f"{self.noun} '{name}' {why}")
        elif missing:
            raise PluginError(f"{self.noun} '{name}' has no method {' and no '.join(missing)}")
        if self.either and not any(callable(getattr(found, v, None)) for v in self.either):
            raise PluginError(f"{self.noun} '{name}' has no method {' or '.join(self.either)}")

    def _target(self, name: str) -> str:
        if name in self.table:
            return self.table[name]
        if ":" in name:
            return name
        if name.endswith(".py"):
            raise PluginError(f"{self.noun} '{name}' is a file: name a class in it, as in {name}:Class")
        if name in installed(self.name):
            return installed(self.name)[name]
        raise PluginError(unknown(self.noun, name, self.names()))

    def build(self, name: str, options: Mapping[str, Any] | None = None) -> P:
        """Return the plug-in ``name`` with ``options``.

        Raises:
            PluginError: No such plug-in, an unknown option, or one of the wrong type or out of range; or it
                declares what nobody reads under such a name, or a value of the wrong type.
        """
        plugin = configure(self.find(name), name, options or {})
        refuse_misdeclared(plugin, self.declares, self.known(plugin), f"{self.noun} '{name}'")
        return plugin

    def known(self, plugin: object) -> set[str]:
        """Return the names that a member may have besides its declarations: verbs and options."""
        return {*self.verbs, *self.either, *(option_names(type(plugin)) or ())}


def configure(factory: Callable[..., P], name: str, options: Mapping[str, Any]) -> P:
    """Return ``factory(**options)`` after checking the options' names and types.

    Raises:
        PluginError: An unknown or missing option, or one of the wrong type, not finite, or out of range.
    """
    parameters = option_names(factory)
    for key in options:
        if parameters is not None and key not in parameters:
            raise PluginError(f"{name}: {unknown('option', key, parameters)}")
        if fault := _fault(options[key], key):
            raise PluginError(f"{name}: {fault}")
    try:
        if is_dataclass(factory):
            return cast(P, _validated(cast(type, factory), options))
        return factory(**options)
    except PASSED:
        raise
    except BaseException as error:
        raise PluginError(f"{name}: {_reason(error)}") from error


def _fault(value: Any, key: str) -> str | None:
    """Return what is wrong with the numbers in a plain value, or None where nothing is."""
    if isinstance(value, Mapping | list | tuple):
        parts = value.values() if isinstance(value, Mapping) else value
        return next((fault for part in parts if (fault := _fault(part, key))), None)
    if isinstance(value, float) and not isfinite(value):
        return f"option '{key}' is {value!r}: numbers must be finite"
    if isinstance(value, float) and abs(value) > LARGEST_FLOAT:
        return f"option '{key}' is {value!r}: numbers must be within float32, at most {LARGEST_FLOAT:.8g}"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return f"option '{key}' is {shown(value)}: whole numbers must fit into 64 bits"
    return None


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
    return _adapter(cls).validate_json(json.dumps(options), strict=True)


@lru_cache(maxsize=256)
def _adapter(cls: type) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def _reason(error: BaseException) -> str:
    """Return one line: the first complaint of a validation error, or the error's own words."""
    details = getattr(error, "errors", None)
    if not callable(details):
        return said(error, named=not isinstance(error, Exception))
    first = details()[0]
    where = ".".join(str(part) for part in first["loc"])
    if not where:
        return str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"option '{where}' is required"
    return f"option '{where}' {wrong_value(first)}"


def _load(target: str, noun: str) -> Any:
    place, _, attribute = target.rpartition(":")
    module = load_module(place, f"{noun} '{target}'")
    if not hasattr(module, attribute):
        public = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise PluginError(f"{place}: {unknown('name', attribute, public)}")
    return getattr(module, attribute)


def load_module(place: str, what: str) -> ModuleType:
    """Return a module by its name, or that of a file, which is run once for each content that it has.

    Args:
        place: ``package.module``, or a path that ends in ``.py``.
        what: What is looked for there, for messages.

    Raises:
        PluginError: It is not there, or cannot be run.
    """
    try:
        return _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except PASSED:
        raise
    except BaseException as error:  # a plug-in that leaves the process is at fault, too
        raise PluginError(f"{what} cannot be loaded: {said(error)}") from error


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
        exec(compile(content, path, "exec"), module.__dict__)  # what was read, and no bytecode beside it
    except BaseException:
        del sys.modules[name]
        raise
    return module


def require(fact: bool, message: str) -> None:
    """Raise ``PluginError(message)`` unless ``fact``: how a family's contract states what is owed."""
    if not fact:
        raise PluginError(message)
