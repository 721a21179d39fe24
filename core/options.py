"""A plug-in's options as plain values."""

from dataclasses import asdict, is_dataclass
from typing import Any


def options_of(plugin: object) -> dict[str, Any]:
    """Return a plug-in's options as plain values, for manifests and specs."""
    plugin = getattr(plugin, "__wrapped__", plugin)
    return asdict(plugin) if is_dataclass(plugin) and not isinstance(plugin, type) else {}
