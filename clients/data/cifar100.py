"""CIFAR-100: 50 000 and 10 000 colour images of 32 x 32 pixels, 100 classes in 20 groups.

Source: Krizhevsky. Learning Multiple Layers of Features from Tiny Images. 2009, Chapter 3. The binary
version: ``train.bin`` and ``test.bin``, each record a coarse label byte, a fine one, and 3072 bytes (red,
green, blue). Without files, fetched as ``uoft-cs/cifar100``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ...core.errors import DataError
from .base import Array, Dataset
from .files import cache_root, find_folder, read_array, write_array
from .hub import HubImages
from .unpacking import read_bytes

IMAGE = (3, 32, 32)
RECORD = 3074  # bytes
SIZES = {"train": 50_000, "test": 10_000}
LABELS = {"coarse": 20, "fine": 100}
"""How many classes a record's first and its second byte have."""


@dataclass(frozen=True)
class Cifar100:
    """The official training and test sets.

    Attributes:
        labels: Which of an image's two labels is its class: the fine one of 100, or the coarse one of 20.
        normalize: Whether the model maps pixels to [-1, 1] (mean 0.5, deviation 0.5 in each channel).
    """

    labels: Literal["fine", "coarse"] = "fine"
    normalize: bool = True

    def __post_init__(self) -> None:
        if self.labels not in LABELS:
            raise ValueError(f"labels must be one of fine, coarse; got '{self.labels}'")

    def load(self) -> Dataset:
        parts = [self._part(name) for name in SIZES]
        mean, std = ((0.5,) * 3, (0.5,) * 3) if self.normalize else ((), ())
        return Dataset("cifar100", *parts[0], *parts[1], LABELS[self.labels], mean, std)

    def _part(self, name: str) -> tuple[Array, Array]:
        """Return pixels and labels of the training or the test set, from files, the cache or the hub."""
        for ending in (".bin", ".bin.xz", ".bin.gz"):
            if (folder := find_folder("cifar100", [name + ending])) is not None:
                records = _read(folder / (name + ending), SIZES[name])
                return _pixels(records), records[:, list(LABELS).index(self.labels)].astype(np.int64)
        return self._fetched(name)

    def _fetched(self, name: str) -> tuple[Array, Array]:
        folder = cache_root() / "cifar100"
        x = read_array(folder / f"{name}-images.npy", (SIZES[name], *IMAGE))
        y = read_array(folder / f"{name}-{self.labels}.npy", (SIZES[name],))
        if x is None or y is None:
            hub = HubImages(
                "cifar100", "uoft-cs/cifar100", "img", ["train.bin", "test.bin"], f"{self.labels}_label"
            )
            x, y = hub.fetch(name)
            write_array(folder / f"{name}-images.npy", x)
            write_array(folder / f"{name}-{self.labels}.npy", y)
        return x, y.astype(np.int64)


def _read(path: Path, most: int) -> Array:
    """Return a file's records.  # [n, 3074]"""
    content = read_bytes(path, most * RECORD)
    if not content or len(content) % RECORD:
        raise DataError(f"{path} holds {len(content)} bytes, must be records of {RECORD}")
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    for place, (kind, count) in enumerate(LABELS.items()):
        if (largest := records[:, place].max()) >= count:
            raise DataError(f"{path} holds {kind} label {largest}; {kind} labels must be below {count}")
    return records


def _pixels(records: Array) -> Array:
    return np.ascontiguousarray(records[:, len(LABELS) :]).reshape(-1, *IMAGE)
