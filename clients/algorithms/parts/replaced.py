"""Layers that go another way inside of a block: their forward functions replaced, and given back."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def replaced(model: nn.Module, forwards: Mapping[str, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Have layers of ``model`` do something else inside the block; afterwards the model is as it was.

    Args:
        model: The model.
        forwards: By a layer's path, what it makes of its inputs.
    """
    changed: list[nn.Module] = []
    try:
        for path, forward in forwards.items():
            layer = model.get_submodule(path)
            layer.forward = forward
            changed.append(layer)
        yield
    finally:
        for layer in changed:
            del layer.forward
