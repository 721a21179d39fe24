"""Read a data set that is published as four gzipped idx files, or the same one from the hub."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.errors import DataError
from .base import Array, Dataset
from .files import cache_root, find_folder, read_array, read_idx, write_array
from .hub import HubImages

SPLITS = {"train": ("train", 60_000), "test": ("t10k", 10_000)}
FILES = tuple(
    f"{stem}-{kind}-ubyte.gz" for stem, _ in SPLITS.values() for kind in ("images-idx3", "labels-idx1")
)
IMAGE = (1, 28, 28)
NUM_CLASSES = 10


@dataclass(frozen=True)
class IdxImages:
    """What tells one such data set from another.

    Attributes:
        name: As scenarios call it; also its folder.
        hub_id: Its name on the Hugging Face hub.
        mean: What the model subtracts from pixels in [0, 1].
        std: What it divides by then, above 0.
    """

    name: str
    hub_id: str
    mean: float
    std: float

    def load(self, normalize: bool) -> Dataset:
        """Return the data set; its ``mean`` and ``std`` stay empty unless ``normalize``."""
        folder = find_folder(self.name, FILES)
        (x, y), (test_x, test_y) = [self._cached(s) if folder is None else _read(folder, s) for s in SPLITS]
        mean, std = ((self.mean,), (self.std,)) if normalize else ((), ())
        return Dataset(
            self.name, x, y.astype(np.int64), test_x, test_y.astype(np.int64), NUM_CLASSES, mean, std
        )

    def _cached(self, split: str) -> tuple[Array, Array]:
        """Return what was fetched before, or fetch it."""
        size = SPLITS[split][1]
        images, labels = (cache_root() / self.name / f"{split}-{kind}.npy" for kind in ("images", "labels"))
        x, y = read_array(images, (size, *IMAGE)), read_array(labels, (size,))
        if x is None or y is None:
            x, y = HubImages(self.name, self.hub_id, "image", FILES).fetch(split)
            write_array(images, x)
            write_array(labels, y)
        return x, y


def _read(folder: Path, split: str) -> tuple[Array, Array]:
    stem, most = SPLITS[split]
    images, labels = folder / f"{stem}-images-idx3-ubyte.gz", folder / f"{stem}-labels-idx1-ubyte.gz"
    x, y = read_idx(images, (most, 28, 28)), read_idx(labels, (most,))
    if len(x) != len(y) or x.shape[1:] != IMAGE[1:]:
        raise DataError(
            f"{images} holds {list(x.shape)} pixels for {len(y)} labels; must be [n, 28, 28] for n labels"
        )
    if len(y) and y.max() >= NUM_CLASSES:
        raise DataError(f"{labels} holds label {y.max()}; labels must be below {NUM_CLASSES}")
    return x[:, None], y
