"""SVHN: house numbers seen from the street, one digit in the middle of 32 x 32 pixels, 10 classes.

Source: Netzer, Wang, Coates, Bissacco, Wu, Ng. Reading Digits in Natural Images with Unsupervised Feature
Learning. NIPS Workshop 2011. The cropped digits: ``train_32x32.mat`` (73 257) and ``test_32x32.mat`` (26 032)
with ``X`` [32, 32, 3, n] and ``y`` [n, 1], where digit 0 has label 10. Without files, see ``hf:``.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.errors import DataError
from .base import Array, Dataset
from .files import find_folder, missing
from .mat_file import read_mat

IMAGE = (32, 32, 3)
FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat", "extra": "extra_32x32.mat"}
MOST = 531_131  # examples of the largest file, extra_32x32.mat
LARGEST = MOST * (3072 + 8) + 2**16  # bytes of a file, unpacked: labels may be float64


@dataclass(frozen=True)
class Svhn:
    """The official training and test sets of cropped digits; class d is digit d.

    Attributes:
        extra: Whether the 531 131 easier digits of ``extra_32x32.mat`` are for training, too.
        normalize: Whether the model maps pixels to [-1, 1] (mean 0.5, deviation 0.5 in each channel).
    """

    extra: bool = False
    normalize: bool = True

    def load(self) -> Dataset:
        wanted = [FILES[name] for name in ("train", "test", *(["extra"] if self.extra else []))]
        folder = find_folder("svhn", wanted)
        if folder is None:
            how = "get them from ufldl.stanford.edu/housenumbers, or take 'hf:ufldl-stanford/svhn'"
            raise missing("svhn", wanted, how)
        train, test, *more = (_read(folder / name) for name in wanted)
        x, y = (np.concatenate([part[i] for part in (train, *more)]) for i in range(2))
        mean, std = ((0.5,) * 3, (0.5,) * 3) if self.normalize else ((), ())
        return Dataset("svhn", x, y, *test, 10, mean, std)


def _read(path: Path) -> tuple[Array, Array]:
    """Return pixels [n, 3, 32, 32] and digits [n] of a file."""
    found = read_mat(path, ("X", "y"), LARGEST)
    pixels, labels = found["X"], found["y"].ravel()
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[:3] != IMAGE:
        raise DataError(f"{path}: X must be bytes [32, 32, 3, n], got {pixels.dtype} {list(pixels.shape)}")
    if labels.dtype.kind not in "iuf" or len(labels) != pixels.shape[3]:
        raise DataError(f"{path}: {pixels.shape[3]} pictures with {len(labels)} labels of {labels.dtype}")
    if not np.isin(labels, np.arange(1, 11)).all():
        raise DataError(
            f"{path}: labels must be whole numbers from 1 to 10, got {labels.min()} to {labels.max()}"
        )
    digits = labels.astype(np.int64) % 10
    return np.ascontiguousarray(pixels.transpose(3, 2, 0, 1)), digits
