"""A plug-in's options as plain values."""

from dataclasses import asdict, field, fields, is_dataclass
from typing import Any

_LATER = "later"


def later(default: Any) -> Any:
    """Return the field of an option that a plug-in did not have from the start, with its default.

    A codec's frames name its options in short. Those written before the option came name none of it, and are
    read as long as it has its default.
    """
    return field(default=default, metadata={_LATER: True})


def options_of(plugin: object) -> dict[str, Any]:
    """Return a plug-in's options as plain values, for manifests and specs."""
    plugin = getattr(plugin, "__wrapped__", plugin)
    return asdict(plugin) if is_dataclass(plugin) and not isinstance(plugin, type) else {}


def public_options(plugin: object) -> dict[str, Any]:
    """Return the options that a frame names: not those that came ``later`` and have their default."""
    plugin = getattr(plugin, "__wrapped__", plugin)
    options = options_of(plugin)
    if is_dataclass(plugin):
        for one in fields(plugin):
            if one.metadata.get(_LATER) and options.get(one.name) == one.default:
                options.pop(one.name, None)
    return options
