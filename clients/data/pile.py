"""From plain arrays to a data set: what whoever reads a file of arrays, a torch data set or LEAF shares."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...core.errors import DataError
from .base import Array, Dataset, Targets
from .held_out import held_out

MOST_CLASSES = 10_000
"""That are learnt from rows: a label that is none must not ask for a model that fills the memory."""


@dataclass(frozen=True)
class Told:
    """What arrays do not say of themselves.

    Attributes:
        name: Of the data set.
        source: Where they are from, for messages.
        test_share: Share of the rows that is held out where there is no test set, between 0.05 and 0.95.
        num_classes: C, above every label; 0: the largest label and 1, which is then learnt from the rows.
        num_tokens: Tokens are from 0 to below it; 0 where inputs are no tokens.
        low: The least value that an input can take.
        high: The largest; both 0: the least and the largest of the arrays.
        option: How ``num_classes`` is given, for messages.
    """

    name: str
    source: str
    test_share: float = 0.2
    num_classes: int = 0
    num_tokens: int = 0
    low: float = 0.0
    high: float = 0.0
    option: str = "num_classes"

    def __post_init__(self) -> None:
        if not 0.05 <= self.test_share <= 0.95:
            raise ValueError(f"test_share must be in [0.05, 0.95], got {self.test_share}")
        if self.num_classes < 0 or self.num_tokens < 0:
            raise ValueError("num_classes and num_tokens must be at least 0")
        if not (self.low < self.high < np.inf and self.low > -np.inf) and (self.low, self.high) != (0, 0):
            raise ValueError(f"high must be above low, both finite, got {self.low} and {self.high}")


def dataset_of(arrays: Mapping[str, Array], told: Told) -> Dataset:
    """Return the data set of ``x``, ``y`` and, where they are there, ``test_x``, ``test_y`` and ``client``.

    Raises:
        DataError: Arrays of other kinds or lengths than ``npz_arrays.NpzArrays`` describes.
    """
    arrays, owners = dict(arrays), arrays.get("client")
    arrays |= {name: _inputs(told, name, arrays[name]) for name in ("x", "test_x") if name in arrays}
    arrays |= {name: _labels(told.source, name, arrays[name]) for name in ("y", "test_y") if name in arrays}
    x, y, test_x, test_y = _split(arrays, owners, told)
    if owners is not None and "test_x" not in arrays:
        owners = owners[~held_out(owners, told.test_share)]
    real = y.dtype == np.float32
    outputs = tuple(f"y{i}" for i in range(y.shape[1])) if real else ()
    count = 0 if real else told.num_classes or int(max(y.max(initial=0), test_y.max(initial=0))) + 1
    if count > MOST_CLASSES and not told.num_classes:
        raise DataError(
            f"{told.source}: the largest label is {count - 1}; at most {MOST_CLASSES} classes are learnt "
            f"from rows, so name {told.option}"
        )
    return Dataset(
        name=told.name,
        x=x,
        y=y,
        test_x=test_x,
        test_y=test_y,
        num_classes=count,
        value_range=_range(told, x, test_x),
        groups=owners,
        targets=Targets(outputs) if real else None,
        num_tokens=told.num_tokens,
        fitted=() if told.num_classes or real else (f"the number of classes ({told.option})",),
    )


def _inputs(told: Told, name: str, x: Array) -> Array:
    """Return inputs as a data set holds them."""
    if x.ndim < 2:
        raise DataError(f"{told.source}: {name} must be [n, ...], got {list(x.shape)}")
    if told.num_tokens:
        if x.dtype.kind not in "iu":
            raise DataError(f"{told.source}: {name} must be integers with num_tokens, got {x.dtype}")
        return x.astype(np.int64)
    if x.dtype.kind not in "fiu":
        raise DataError(f"{told.source}: {name} must be numbers, got {x.dtype}")
    return x if x.dtype == np.uint8 else x.astype(np.float32)


def _split(
    arrays: Mapping[str, Array], owners: Array | None, told: Told
) -> tuple[Array, Array, Array, Array]:
    """Return the training and the test set."""
    x, y = arrays["x"], arrays["y"]
    if len(x) != len(y) or (owners is not None and owners.shape != (len(x),)):
        lengths = ", ".join(f"{name} {len(a)}" for name, a in arrays.items() if "test" not in name)
        raise DataError(f"{told.source}: x, y and client must be equally long, got {lengths}")
    if "test_x" in arrays:
        return x, y, arrays["test_x"], arrays["test_y"]
    out = held_out(np.zeros(len(x), np.int64) if owners is None else owners, told.test_share)
    if out.all() or not out.any():
        raise DataError(f"{told.source}: {len(x)} rows are too few to hold {told.test_share:g} of them out")
    return x[~out], y[~out], x[out], y[out]


def _range(told: Told, x: Array, test_x: Array) -> tuple[float, float]:
    if x.dtype == np.uint8 or told.num_tokens:
        return 0.0, max(1.0, told.num_tokens - 1.0)
    if told.low < told.high:
        return told.low, told.high
    return float(min(x.min(), test_x.min())), float(max(x.max(), test_x.max()))


def _labels(source: str, name: str, y: Array) -> Array:
    """Return classes int64 [n, ...], or targets float32 [n, D]."""
    if y.dtype.kind in "iub":
        return y.astype(np.int64)
    if y.dtype.kind != "f" or y.ndim > 2:
        raise DataError(
            f"{source}: {name} must be integers or real numbers [n, D], got {y.dtype} {list(y.shape)}"
        )
    return y.astype(np.float32).reshape(len(y), -1)
