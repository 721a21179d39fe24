"""CIFAR-10: 50 000 and 10 000 colour images of 32 x 32 pixels, 10 classes.

Source: Krizhevsky. Learning Multiple Layers of Features from Tiny Images. 2009, Chapter 3. The binary
version: five training batches and a test batch of 10 000 records, each one label byte and 3072 bytes (red,
green, blue). Without files, fetched as ``uoft-cs/cifar10``.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.errors import DataError
from .base import Array, Dataset
from .files import cache_root, find_folder, read_array, write_array
from .hub import HubImages
from .unpacking import read_bytes

IMAGE = (3, 32, 32)
RECORDS = (10_000, 3073)


@dataclass(frozen=True)
class Cifar10:
    """The official test set and as many of the training batches as wanted.

    Batches packed with xz are slow to unpack, so they are kept unpacked in the cache.

    Attributes:
        num_batches: Training batches of 10 000, between 1 and 5.
        normalize: Whether the model maps pixels to [-1, 1] (mean 0.5, deviation 0.5 in each channel).
    """

    num_batches: int = 5
    normalize: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.num_batches <= 5:
            raise ValueError(f"num_batches must be in [1, 5], got {self.num_batches}")

    def load(self) -> Dataset:
        stems = [*(f"data_batch_{i + 1}" for i in range(self.num_batches)), "test_batch"]
        *batches, test = [self._records(stem) for stem in stems]
        train = np.concatenate(batches)
        mean, std = ((0.5,) * 3, (0.5,) * 3) if self.normalize else ((), ())
        return Dataset("cifar10", *_split(train), *_split(test), 10, mean, std)

    def _records(self, stem: str) -> Array:
        """Return a batch as it is published, from the cache, files or the hub.  # [10000, 3073]"""
        cached = read_array(cache_root() / "cifar10" / f"{stem}.npy", RECORDS)
        if cached is not None:
            return cached
        for ending in (".bin", ".bin.xz"):
            if (folder := find_folder("cifar10", [stem + ending])) is not None:
                records = _read(folder / (stem + ending))
                break
        else:
            return self._fetched()[stem]
        if ending == ".bin.xz":
            write_array(cache_root() / "cifar10" / f"{stem}.npy", records)
        return records

    def _fetched(self) -> dict[str, Array]:
        files = [f"{stem}.bin.xz" for stem in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")]
        hub = HubImages("cifar10", "uoft-cs/cifar10", "img", files)
        records = {"test_batch": _join(*hub.fetch("test"))}
        x, y = hub.fetch("train")
        for i in range(5):
            part = slice(i * RECORDS[0], (i + 1) * RECORDS[0])
            records[f"data_batch_{i + 1}"] = _join(x[part], y[part])
        for stem, batch in records.items():
            write_array(cache_root() / "cifar10" / f"{stem}.npy", batch)
        return records


def _read(path: Path) -> Array:
    content = read_bytes(path, RECORDS[0] * RECORDS[1])
    if len(content) != RECORDS[0] * RECORDS[1]:
        raise DataError(f"{path} holds {len(content)} bytes, must be {RECORDS[0]} records of {RECORDS[1]}")
    records = np.frombuffer(content, np.uint8).reshape(RECORDS)
    if records[:, 0].max() > 9:
        raise DataError(f"{path} holds label {records[:, 0].max()}; labels must be below 10")
    return records


def _split(records: Array) -> tuple[Array, Array]:
    return np.ascontiguousarray(records[:, 1:]).reshape(-1, *IMAGE), records[:, 0].astype(np.int64)


def _join(x: Array, y: Array) -> Array:
    return np.concatenate([y[:, None], x.reshape(len(x), -1)], axis=1)
