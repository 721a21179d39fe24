"""Which code from outside the package a scenario names, and what it holds."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..core.errors import ResultsError
from ..core.installed import every_installed
from ..core.outside import is_outside
from ..core.sources import hash_of, sources

COPIES = "code"  # of a result folder: the sources that its run was begun with, and each later one
_TARGET = re.compile(r"(?:.+\.py|[A-Za-z_]\w*(?:\.\w+)*):[A-Za-z_]\w*", re.DOTALL)
_SCHEME = re.compile(r"[a-z]+:(?=.*:)")  # of flower:package.module:Class


def named_outside(values: Mapping[str, Any]) -> list[str]:
    """Return every ``module:Class`` and ``file.py:Class`` from outside that a scenario's values name."""
    found = set()
    for text in _texts({k: v for k, v in values.items() if k not in {"description", "runtime", "track"}}):
        target = every_installed().get(text) or _SCHEME.sub("", text)
        if _TARGET.fullmatch(target) and is_outside(target):
            found.add(target)
    return sorted(found)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(part)


def code_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the hash of each source file behind the outside code that a scenario names."""
    return {name: hash_of(path) for name, path in sources(named_outside(values)).items()}


def keep_copies(values: Mapping[str, Any], folder: Path) -> None:
    """Copy the sources behind a scenario's outside code into ``code`` of a result folder, named by content.

    Raises:
        ResultsError: One cannot be written.
    """
    for path in sources(named_outside(values)).values():
        try:
            content = path.read_bytes()
            (folder / COPIES).mkdir(parents=True, exist_ok=True)
            (folder / COPIES / f"{hash_of(path)[:16]}-{path.name}").write_bytes(content)
        except OSError as error:
            raise ResultsError(f"{error.filename or path} cannot be copied: {error.strerror}") from error
