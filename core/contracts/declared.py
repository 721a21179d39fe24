"""What a plug-in says of itself besides its verb."""

from typing import TypeVar

T = TypeVar("T")


def declared(plugin: object, name: str, careful: T) -> T:
    """Return what a plug-in declares under ``name``, or the careful answer if it is silent."""
    value: T = getattr(plugin, name, careful)
    return value
