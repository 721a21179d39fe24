"""EMNIST: handwritten digits and letters in MNIST's format, each image transposed.

Source: Cohen, Afshar, Tapson, van Schaik. EMNIST: an extension of MNIST to handwritten letters. IJCNN 2017,
Section II and Table II, arXiv:1702.05373. The files of ``gzip.zip``, such as
``emnist-letters-train-images-idx3-ubyte.gz``: the same idx format as MNIST's, rows and columns exchanged.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ...core.errors import DataError
from .base import Array, Dataset
from .files import find_folder, missing, read_idx

SPLITS = {"byclass": 62, "bymerge": 47, "balanced": 47, "letters": 26, "digits": 10, "mnist": 10}
"""How many classes each split has."""
FIRST = {"letters": 1}
"""The label of the first class, where it is not 0: letters are numbered from 1."""
KINDS = ("images-idx3", "labels-idx1")
MOST = 697_932  # examples of the largest file
SIDE = 28


@dataclass(frozen=True)
class Emnist:
    """One split's official training and test sets, upright: pixels uint8 [1, 28, 28].

    Classes of ``byclass``: digits, then upper case, then lower case; of ``letters``: both cases of a letter
    are one class, A is 0.

    Attributes:
        split: Which of the six.
        normalize: Whether the model maps pixels to [-1, 1] (mean 0.5, deviation 0.5).
    """

    split: Literal["byclass", "bymerge", "balanced", "letters", "digits", "mnist"] = "balanced"
    normalize: bool = True

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}; got '{self.split}'")

    def load(self) -> Dataset:
        names = [
            f"emnist-{self.split}-{part}-{kind}-ubyte.gz" for part in ("train", "test") for kind in KINDS
        ]
        folder = find_folder("emnist", names)
        if folder is None:
            raise missing("emnist", names, "get them from gzip.zip of the EMNIST page of NIST")
        images, labels, test_images, test_labels = (folder / name for name in names)
        x, y = self._read(images, labels)
        test_x, test_y = self._read(test_images, test_labels)
        mean, std = ((0.5,), (0.5,)) if self.normalize else ((), ())
        return Dataset(f"emnist_{self.split}", x, y, test_x, test_y, SPLITS[self.split], mean, std)

    def _read(self, images: Path, labels: Path) -> tuple[Array, Array]:
        x, y = read_idx(images, (MOST, SIDE, SIDE)), read_idx(labels, (MOST,))
        if len(x) != len(y) or x.shape[1:] != (SIDE, SIDE):
            raise DataError(
                f"{images} holds {list(x.shape)} pixels for {len(y)} labels; must be [n, 28, 28] for n labels"
            )
        first = FIRST.get(self.split, 0)
        last = first + SPLITS[self.split] - 1
        if len(y) and not first <= y.min() <= y.max() <= last:
            raise DataError(f"{labels} holds labels {y.min()} to {y.max()}; must be in [{first}, {last}]")
        upright = np.ascontiguousarray(x.transpose(0, 2, 1))[:, None]
        return upright, y.astype(np.int64) - first
