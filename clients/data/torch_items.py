"""A map-style data set of torch: ``torch:package.module:Dataset``, ``torch:file.py:Dataset``, or a live one.

Source: Paszke et al. PyTorch. NeurIPS 2019, ``torch.utils.data``: ``len(d)`` and ``d[i] -> (x, y)``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset

from ...core.errors import PASSED, DataError, PluginError, said
from ...core.live import found, is_live
from ...core.registry import Family
from .base import Array, Dataset
from .pile import Told, dataset_of

_FAMILY: Family[Any] = Family("torch_datasets", "torch dataset", ("__getitem__", "__len__"), {})


@dataclass(frozen=True)
class TorchItems:
    """Every example of a map-style data set, read once: ``(x, y)``, or a table with ``x`` and ``y``.

    ``x``: a tensor, an array or a picture (pixels uint8 become channels first); ``y``: a class, or real
    numbers, a regression. Random transforms are drawn once, at loading.

    Attributes:
        args: What the class is made with (of an object: nothing).
        test: What it is made with for the test set, besides; or the name of a live object. Empty: a share of
            the rows is held out.
        test_share: That share, between 0.05 and 0.95.
        client: The attribute of the data set that says whose each example is, [n] (partition ``natural``).
        num_classes: C; 0: the largest label and 1, and no epsilon (``fitted_inputs``).
        num_tokens: Tokens are from 0 to below it; 0 where ``x`` are none.
        low: The least value that an input can take.
        high: The largest; both 0: those of the examples.
    """

    args: Mapping[str, Any] = field(default_factory=dict)
    test: Mapping[str, Any] | str = field(default_factory=dict)
    test_share: float = 0.2
    client: str = ""
    num_classes: int = 0
    num_tokens: int = 0
    low: float = 0.0
    high: float = 0.0

    target = ""  # what stands behind "torch:"

    def __post_init__(self) -> None:
        _ = self._told

    @property
    def _told(self) -> Told:
        size = self.num_classes, self.num_tokens, self.low, self.high
        name = self.target.rpartition(":")[2].partition("-")[0]
        return Told(name, f"torch:{self.target}", self.test_share, *size)

    def load(self) -> Dataset:
        train = self._made(self.args)
        arrays = _arrays(train, self._told.source)
        if self.client:
            arrays["client"] = self._owners(train)
        if isinstance(self.test, str):
            other = _arrays(_live(self.test)(), self._told.source)
            arrays |= {f"test_{name}": value for name, value in other.items()}
        elif self.test:
            other = _arrays(self._made({**self.args, **self.test}), self._told.source)
            arrays |= {f"test_{name}": value for name, value in other.items()}
        return dataset_of(arrays, self._told)

    def _made(self, args: Mapping[str, Any]) -> Any:
        kind = _found(self.target)
        try:
            return kind(**args)
        except PASSED:
            raise
        except BaseException as error:
            raise DataError(f"torch:{self.target} cannot be made: {said(error)}") from error

    def _owners(self, dataset: Any) -> Array:
        if not hasattr(dataset, self.client):
            raise DataError(f"torch:{self.target} has no attribute '{self.client}' to say whose examples are")
        owners: Array = np.asarray(getattr(dataset, self.client))
        return owners


def torch_dataset(target: str) -> type[TorchItems]:
    """Return the data set behind ``torch:TARGET``.

    Raises:
        PluginError: There is no such class, or it is none of torch's map-style data sets.
    """
    _ = _found(target)
    made = make_dataclass("TorchItems", [], bases=(TorchItems,), namespace={"target": target}, frozen=True)
    made.__module__, made.__doc__ = __name__, TorchItems.__doc__
    return cast(type[TorchItems], made)


def _found(target: str) -> Any:
    """Return a class, or what hands out a live object."""
    if is_live(target):
        return _live(target)
    kind = _FAMILY.find(target)
    own_file = target.rpartition(":")[0].endswith(".py")
    if not own_file and not (isinstance(kind, type) and issubclass(kind, TorchDataset)):
        raise PluginError(f"torch dataset '{target}' must be a class of torch.utils.data.Dataset")
    return kind


def _live(name: str) -> Any:
    if not is_live(name):
        raise PluginError(f"test must be a table of arguments or a live object, got '{name}'")
    return found(name, "torch dataset")


def _arrays(dataset: Any, source: str) -> dict[str, Array]:
    """Return every example of a data set.  # x [n, ...], y [n] or [n, D]

    Raises:
        DataError: It has none, raises, or its examples are of different shapes.
    """
    pairs = []
    try:
        for number in range(len(dataset)):
            item = dataset[number]
            x, y = (item["x"], item["y"]) if isinstance(item, Mapping) else item
            pairs.append((_input(x), np.asarray(y)))
    except PASSED:
        raise
    except BaseException as error:
        raise DataError(f"{source}: example {len(pairs)} cannot be read: {said(error)}") from error
    if not pairs:
        raise DataError(f"{source} has no example")
    shapes = list(dict.fromkeys((x.shape, y.shape) for x, y in pairs))
    if len(shapes) > 1:
        (x, y), (other, label) = shapes[:2]
        raise DataError(f"{source}: examples differ in shape: {x} and {y}, {other} and {label}")
    kinds = list(dict.fromkeys(x.dtype for x, _ in pairs))
    if len(kinds) > 1 and np.dtype(np.uint8) in kinds:  # pixels up to 255, beside numbers that are no pixels
        raise DataError(f"{source}: inputs differ in type: {kinds[0]}, {kinds[1]}")
    return {"x": np.stack([x for x, _ in pairs]), "y": np.stack([y for _, y in pairs])}


def _input(x: Any) -> Array:
    """Return one example's input; of a picture pixels with channels first, of one number a list of it."""
    if isinstance(x, torch.Tensor):
        array = x.detach().cpu().numpy()
    else:
        array = np.asarray(x)
        if hasattr(x, "getbands"):  # a picture: [H, W] or [H, W, C]
            array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    return array.reshape(1) if array.ndim == 0 else array
