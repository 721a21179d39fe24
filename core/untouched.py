"""Hold plug-ins to leaving what they are handed as it is: the model, others' updates, data.

What a plug-in is handed are the engine's own tensors, not copies of them. So a short digest of each is taken
before a call and after it; it also sees what is written through a numpy view. It costs one pass over the
bytes, at the speed of memory. A plug-in's own state may be large, and nobody else reads it: there the numbers
of writes that torch counts, and the plain values, are compared.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import ForbiddenWrite
from .layout import Layout

WIDTH = 509
"""Words of a digest: prime, so that equal values at other places give another one."""

SHORT = 16 * WIDTH
"""Bytes that are compared themselves."""


@contextmanager
def untouched(label: str, *handed: Any) -> Iterator[None]:
    """Refuse a plug-in that writes, in the block, into what it is ``handed``.

    Args:
        label: What to call the plug-in.
        handed: Tensors, arrays, dataclasses that hold some, and states (lists, tuples and dictionaries).

    Raises:
        ForbiddenWrite: It did, also where it raised something else afterwards: a caller may go on from that.
    """
    before = _looks(handed)
    try:
        yield
    except Exception as error:
        if _looks(handed) != before:
            raise _refusal(label) from error
        raise
    if _looks(handed) != before:
        raise _refusal(label)


def _refusal(label: str) -> ForbiddenWrite:
    return ForbiddenWrite(
        f"{label} wrote into what it was handed; a plug-in leaves its arguments and options as they are "
        "and returns what is new (x + y in place of x += y; a numpy view of a tensor is the tensor itself)"
    )


def _looks(handed: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for value in handed:
        _look(value, found)
    return found


def _look(value: Any, found: list[Any]) -> None:
    """Append what tells whether somebody wrote into ``value``."""
    if isinstance(value, Tensor):
        found.append(_digest(value.detach()))
    elif isinstance(value, np.ndarray):
        found.append(_digest_of(value))
    elif isinstance(value, Mapping | list | tuple):
        _count(value, found)
    elif is_dataclass(value) and not isinstance(value, type | Layout):
        for part in fields(value):
            _look(getattr(value, part.name), found)


def _count(tree: Any, found: list[Any]) -> None:
    """Append the values of a state, and of its tensors how often they were written."""
    if isinstance(tree, Tensor):
        found.append((id(tree), None if tree.is_inference() else tree._version))
    elif isinstance(tree, Mapping):
        found.append(list(tree))
        for value in tree.values():
            _count(value, found)
    elif isinstance(tree, list | tuple):
        found.append(len(tree))
        for value in tree:
            _count(value, found)
    elif isinstance(tree, float):
        found.append(tree.hex())  # NaN equals itself
    else:
        found.append(tree if isinstance(tree, str | int | None) else id(tree))


def _digest(tensor: Tensor) -> Any:
    if tensor.device.type != "cpu" or tensor.layout != torch.strided:
        return None if tensor.is_inference() else tensor._version
    flat = tensor.contiguous().reshape(-1)
    return _digest_of(flat.view(torch.uint8).numpy() if flat.numel() else np.empty(0, np.uint8))


def _digest_of(array: "np.ndarray[Any, Any]") -> Any:
    """Return the bytes, or of many their sums by place; equal digests of other values are chance.

    An odd number of words is summed at each place, so that flipped signs do not cancel.
    """
    if array.dtype.hasobject:
        return None
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if len(flat) <= SHORT:
        return flat.tobytes()
    begin = -flat.ctypes.data % 8
    rows = (len(flat) - begin) // (8 * WIDTH)
    end = begin + 8 * WIDTH * (rows - (rows % 2 == 0))
    words = flat[begin:end].view(np.uint64).reshape(-1, WIDTH)
    return flat[:begin].tobytes() + words.sum(axis=0).tobytes() + flat[end:].tobytes()
