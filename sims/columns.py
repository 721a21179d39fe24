"""Columns of the table of clients, made of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray[Any, Any]


def numbers(values: Tensor, absent: Array) -> Array | pa.Array:
    """Return a column of float64, null where ``absent``; NaN stays NaN.

    Behind a null stands 0, as where tables are read back: the journal's bytes are those of the arrays.
    """
    numbers = values.double().numpy()
    if not absent.any():
        return numbers
    return pa.array(np.where(absent, 0.0, numbers), mask=absent, from_pandas=False)


def named(said: Mapping[int, Any], ids: Sequence[int], kind: pa.DataType) -> Any:
    """Return what is said of each client, null where nothing is."""
    return [said.get(i) for i in ids] if said else pa.nulls(len(ids), kind)


def statuses(arrived: Array, refused: Mapping[int, tuple[str, str]], ids: Sequence[int]) -> dict[str, Any]:
    """Return the columns ``status`` and ``reason``."""
    if not refused and bool(arrived.all()):
        return {"status": ["ok"] * len(ids), "reason": pa.nulls(len(ids), pa.string())}
    found = [_status(came, refused.get(i)) for came, i in zip(arrived.tolist(), ids, strict=True)]
    return {"status": [status for status, _ in found], "reason": [reason for _, reason in found]}


def _status(arrived: bool, refused: tuple[str, str] | None) -> tuple[str, str | None]:
    if not arrived:
        return "dropped", "did not arrive in time"
    return refused if refused else ("ok", None)


def weights(given: Tensor | None, received: Tensor, ids: Sequence[int]) -> Any:
    """Return each client's weight; none where a pre-aggregation mixed clients, or the defense gives none."""
    if given is None or len(given) != len(received):
        return pa.nulls(len(ids), pa.float64())
    if len(received) == len(ids):  # these are some of those, and both ascend
        return given.double().numpy()
    by_client = dict(zip(received.tolist(), given.double().tolist(), strict=True))
    return [by_client.get(i) for i in ids]
