"""Digits: 1797 grey images of 8 x 8 pixels, 10 classes; they come with scikit-learn, without a download.

Source: Alpaydin, Kaynak. Optical Recognition of Handwritten Digits. UCI Machine Learning Repository, 1998.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ...core.errors import DataError
from ...core.seeds import generator
from .base import Dataset

NUM_TEST = 360


@dataclass(frozen=True)
class Digits:
    """1437 examples for training, 360 for test; pixels 0 ... 16 divided by 16, no normalisation.

    The split is fixed and stratified: the examples are shuffled by a stream of their own and sorted by label
    (stable), and 360 evenly spaced ones are for test, so that each class gives its share to within one.
    """

    def load(self) -> Dataset:
        table = np.loadtxt(_file(), delimiter=",", dtype=np.int64)  # 64 pixels and the label
        x = (table[:, :-1] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
        y = table[:, -1].copy()
        shuffled = generator(0, "digits split").permutation(len(y))
        by_label = shuffled[np.argsort(y[shuffled], kind="stable")]
        picks = np.round(np.linspace(0, len(y) - 1, NUM_TEST)).astype(np.int64)
        test = np.sort(by_label[picks])
        train = np.setdiff1d(np.arange(len(y)), test)
        return Dataset("digits", x[train], y[train], x[test], y[test], num_classes=10)


def _file() -> Path:
    """Return scikit-learn's file, without the seconds that importing scikit-learn takes.

    Raises:
        DataError: It is not where scikit-learn keeps it.
    """
    spec = find_spec("sklearn")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (file := Path(folder) / "datasets" / "data" / "digits.csv.gz").is_file():
            return file
    raise DataError("digits.csv.gz is not among scikit-learn's data sets; install scikit-learn again")
