"""What both ways to Flower read in its records. Needs no Flower itself."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...core.layout import Layout, Slot

WEIGHT = "num-examples"
"""Under which name Flower's clients say how many examples they have."""

_MOST_EXAMPLES = 2**53  # a claim of this or above is no number of examples


def layout_of(arrays: Mapping[str, Any]) -> Layout:
    """Return where the floating arrays of a record lie in one vector; whole numbers stay outside it."""
    slots, start = [], 0
    for name, array in arrays.items():
        if np.issubdtype(np.dtype(array.dtype), np.floating):
            slots.append(Slot(name, tuple(array.shape), start))
            start += slots[-1].size
    return Layout(tuple(slots))


def vector_of(arrays: Mapping[str, Any], layout: Layout) -> Tensor:
    """Return the floating arrays of an array record as one float32 vector.  # [P]"""
    values = {s.name: torch.from_numpy(np.asarray(arrays[s.name].numpy())) for s in layout.parameters}
    return layout.flatten(values)


def checked_vector_of(arrays: Mapping[str, Any], like: Mapping[str, Any], layout: Layout) -> Tensor:
    """Return what ``vector_of`` does of a stranger's record; each array is decoded once.  # [P]

    Raises:
        ValueError: Bytes that are no array; names, shapes or kinds of number that are not those of ``like``.
    """
    if list(arrays) != list(like):
        raise ValueError("its arrays are not those of the global model")
    values = {name: _checked(name, arrays[name], like[name]) for name in like}
    with np.errstate(over="ignore"):  # a float64 too large becomes infinite, which is seen later
        floats = {s.name: np.asarray(values[s.name], np.float32) for s in layout.parameters}
    return layout.flatten({name: torch.from_numpy(value) for name, value in floats.items()})


def _checked(name: str, array: Any, like: Any) -> np.ndarray[Any, Any]:
    """Return the decoded array. Nothing is unpickled: Flower loads with ``allow_pickle=False``."""
    try:
        value = array.numpy()
    except Exception as error:  # EOFError, OverflowError, MemoryError ...: a stranger wrote the header too
        raise ValueError(f"its array '{name}' cannot be decoded ({type(error).__name__})") from error
    if not isinstance(value, np.ndarray):  # an .npz archive
        raise ValueError(f"its array '{name}' is not one array")
    wanted, shape = np.dtype(like.dtype), tuple(like.shape)
    if value.dtype.kind != wanted.kind or value.shape != shape:
        raise ValueError(
            f"its array '{name}' is {value.dtype.str} {value.shape}, in the global model {wanted.str} {shape}"
        )
    return value


def values_of(vector: Tensor, like: Mapping[str, Any], layout: Layout) -> dict[str, np.ndarray[Any, Any]]:
    """Return the floating arrays that ``vector`` [P] holds, in the types of ``like``."""
    return {name: v.numpy().astype(like[name].dtype) for name, v in layout.views(vector).items()}


def claim_of(metrics: Mapping[str, Any] | None, key: str) -> int | float | None:
    """Return the number of examples under ``key``; None where there is no number from 0 to below 2**53."""
    value = None if metrics is None else metrics.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if 0 <= value < _MOST_EXAMPLES else None


def only(records: Mapping[str, Any]) -> Any:
    """Return the one record of its kind in a message; None where there is none, or several."""
    return next(iter(records.values())) if len(records) == 1 else None


def client_id_of(node_id: int) -> int:
    """Return a node's stable client id: the same 64 bits, read with a sign, as int64 holds them."""
    return node_id if node_id < 2**63 else node_id - 2**64
