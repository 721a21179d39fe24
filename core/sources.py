"""The source files behind plug-ins from outside the package, found without running any of them.

A plug-in's source is its file, or its module's, and with it whatever that imports and is itself no installed
package: a module beside it, say. What is installed is told apart by its version.
"""

import ast
import sysconfig
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from .outside import source_of

_PACKAGE = __name__.partition(".")[0]
_MOST = 1000  # files


def sources(targets: Iterable[str]) -> dict[str, Path]:
    """Return the source files behind ``module:Class`` and ``file.py:Class``, by the name of each.

    A file's name is its path, a module's its dotted name. What has no source that can be found is left out.
    """
    found: dict[str, Path] = {}
    todo = sorted({target.rpartition(":")[0] for target in targets})
    named = set(todo)
    while todo and len(found) < _MOST:
        place = todo.pop()
        path = source_of(place)
        if place in found or path is None or not (place in named or _is_users(path)):
            continue
        found[place] = path
        todo += [m for m in _imported(path, place) if m not in found and m.partition(".")[0] != _PACKAGE]
    return dict(sorted(found.items()))


def hash_of(path: Path) -> str:
    """Return a hash of a file's content; of one that cannot be read, ``absent``."""
    try:
        return blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError:
        return "absent"


def _is_users(path: Path) -> bool:
    """Return whether a file belongs to no installed package and not to Python."""
    resolved = path.resolve()
    shut = {
        Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "platstdlib", "purelib", "platlib")
    }
    installed = {"site-packages", "dist-packages"} & set(resolved.parts)
    return not installed and not any(resolved.is_relative_to(folder) for folder in shut)


def _imported(path: Path, place: str) -> list[str]:
    """Return the modules that a file imports, wherever in it; ``from a import b`` may mean ``a.b``."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return []
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, place, path.name == "__init__.py")
            found += [base, *(f"{base}.{alias.name}" for alias in node.names)] if base else []
    parts = [name.split(".") for name in found]  # importing a.b.c runs a and a.b, too
    return sorted({".".join(p[: n + 1]) for p in parts for n in range(len(p))})


def _absolute(node: ast.ImportFrom, place: str, is_package: bool) -> str:
    """Return the absolute name of what ``from ... import`` names; empty where a file has no package."""
    if node.level == 0:
        return node.module or ""
    parts = [] if place.endswith(".py") else place.split(".")
    kept = len(parts) - node.level + is_package
    return ".".join([*parts[:kept], *([node.module] if node.module else [])]) if kept > 0 else ""
