"""Digits: 1797 grey images of 8 x 8 pixels, 10 classes; they come with scikit-learn, without a download.

Source: Alpaydin, Kaynak. Optical Recognition of Handwritten Digits. UCI Machine Learning Repository, 1998.
"""

from dataclasses import dataclass

import numpy as np

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
        from sklearn.datasets import load_digits

        bunch = load_digits()
        x = (bunch.data / 16).astype(np.float32).reshape(-1, 1, 8, 8)
        y = bunch.target.astype(np.int64)
        shuffled = generator(0, "digits split").permutation(len(y))
        by_label = shuffled[np.argsort(y[shuffled], kind="stable")]
        picks = np.round(np.linspace(0, len(y) - 1, NUM_TEST)).astype(np.int64)
        test = np.sort(by_label[picks])
        train = np.setdiff1d(np.arange(len(y)), test)
        return Dataset("digits", x[train], y[train], x[test], y[test], num_classes=10)
