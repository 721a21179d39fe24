"""Linear layers and parameters of a model by patterns of their names, for wrappers of another model."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn


def is_named(name: str, patterns: Sequence[str]) -> bool:
    """Return whether a pattern (``*query``) fits the name."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def linear_layers(net: nn.Module, patterns: Sequence[str] = ("*",)) -> dict[str, nn.Linear]:
    """Return the ``nn.Linear`` of these names in the model's order; subclasses are none."""
    return {n: m for n, m in net.named_modules() if type(m) is nn.Linear and is_named(n, patterns)}


def check_patterns(net: nn.Module, targets: Sequence[str], trained: Sequence[str]) -> None:
    """Refuse patterns that name nothing of a model.

    Args:
        net: The model.
        targets: Patterns of names of its linear layers.
        trained: Patterns of names of its parameters.

    Raises:
        ValueError: One names nothing.
    """
    layers = linear_layers(net)
    for pattern in targets:
        if not any(fnmatchcase(name, pattern) for name in layers):
            raise ValueError(f"targets: '{pattern}' names no linear layer; there are: {listed(layers)}")
    names = [name for name, _ in net.named_parameters()]
    for pattern in trained:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"trained: '{pattern}' names no parameter; there are: {listed(names)}")


def listed(names: Iterable[str]) -> str:
    """Return the first dozen names, for messages."""
    first = list(names)
    return ", ".join([*first[:12], *(["..."] if len(first) > 12 else [])]) or "none"
