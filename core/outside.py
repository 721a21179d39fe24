"""Code from outside the package: what a plug-in's name may mean, looked at before any of it runs.

Importing a module runs it. So whatever can be told from a name and from source alone is told first: nothing
of Python's standard library is a plug-in, a source without the wanted name is not run to find that out, and
within ``only_our_own`` nothing from outside is run at all.
"""

import ast
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from .errors import PluginError, unknown

_PACKAGE = __name__.partition(".")[0]
_FLOORS = frozenset({"attacks", "clients", "core", "defenses", "privacy", "server", "sims"})
_REFUSED: ContextVar[str | None] = ContextVar("outside code", default=None)


@contextmanager
def only_our_own(why: str | None) -> Iterator[None]:
    """Refuse to load any plug-in from outside the package, with the reason ``why``; None allows all."""
    token = _REFUSED.set(why)
    try:
        yield
    finally:
        _REFUSED.reset(token)


def refuse_distrusted(what: str, kind: str) -> None:
    """Raise ``PluginError`` where nothing but the package's own code may be loaded."""
    if (why := _REFUSED.get()) is not None:
        raise PluginError(f"{what} is {kind}, and {why}")


def is_outside(target: str) -> bool:
    """Return whether ``module:Class`` or ``file.py:Class`` names code that does not ship with the package.

    A checkout's own folder holds more than the package: results, for one, with sources in them.
    """
    place = target.rpartition(":")[0]
    first, _, rest = place.partition(".")
    return place.endswith(".py") or first != _PACKAGE or rest.partition(".")[0] not in _FLOORS


def admit(target: str, noun: str) -> None:
    """Let a plug-in from outside be loaded, as far as its name and its source tell; none of it runs.

    Raises:
        PluginError: Outside code is not allowed here, it is of the standard library, or its source holds no
            such name.
    """
    place, _, attribute = target.rpartition(":")
    refuse_distrusted(f"{noun} '{target}'", "code from outside the package")
    if not place.endswith(".py") and _standard(place):
        raise PluginError(_not_yours(noun, target, place))
    source = source_of(place)
    names = None if source is None else bound_names(source)
    if names is not None and attribute not in names and not {"*", "__getattr__"} & names:
        public = [n for n in names if not n.startswith("_")]
        raise PluginError(f"{place}: {unknown('name', attribute, public)}")


def refuse_foreign(found: Any, target: str, noun: str, kinds: tuple[type, ...] = (type,)) -> None:
    """Refuse what a name turned out to mean, before it is called, unless it was written in Python for this.

    Args:
        found: What the name means.
        target: The name.
        noun: What a plug-in of the family is called.
        kinds: What it may be: a class, or a Python function.

    Raises:
        PluginError: Something else, or something of the standard library under another module's name.
    """
    if not isinstance(found, kinds):
        raise PluginError(
            f"{noun} '{target}' must be {' or '.join(map(_described, kinds))}, got {_described(type(found))}"
        )
    module = getattr(found, "__module__", None) or "builtins"
    if _standard(module) and _named(module, str(getattr(found, "__qualname__", ""))) is found:
        raise PluginError(_not_yours(noun, target, module))


def _not_yours(noun: str, target: str, module: str) -> str:
    return (
        f"{noun} '{target}' is of Python's standard library ({module}), and no plug-in; allowed: a class of "
        "a package or file of yours"
    )


def _described(kind: type) -> str:
    names = {type: "a class", FunctionType: "a Python function", ModuleType: "a module"}
    return names.get(kind, f"a {kind.__name__}")


def _standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def _named(module: str, qualified: str) -> Any:
    """Return what a loaded module holds under a dotted name, or None."""
    found: Any = sys.modules.get(module)
    for part in qualified.split("."):
        found = getattr(found, part, None)
    return found


def source_of(place: str) -> Path | None:
    """Return the Python file behind ``package.module`` or ``file.py``; None without one. Imports nothing."""
    if place.endswith(".py"):
        path = Path(place).expanduser().resolve()
        return path if path.is_file() else None
    spec, where = None, None
    for number in range(len(parts := place.split("."))):
        spec = _spec(".".join(parts[: number + 1]), where)
        if spec is None:
            return None
        where = spec.submodule_search_locations
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _spec(name: str, where: Any) -> ModuleSpec | None:
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        try:
            spec = find(name, where) if find else None
        except Exception:  # of somebody's finder
            spec = None
        if isinstance(spec, ModuleSpec):
            return spec
    return None


def bound_names(source: Path) -> set[str] | None:
    """Return the names that a Python file binds at its top level, ``*`` where it imports all of another.

    None where the file cannot be read as Python.
    """
    try:
        tree = ast.parse(source.read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    found: set[str] = set()
    todo: list[ast.AST] = [*tree.body]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        todo += ast.iter_child_nodes(node)
    return found
