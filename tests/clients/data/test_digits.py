import numpy as np
from sklearn.datasets import load_digits

from gauntlet.clients.data.digits import Digits


def test_the_digits_are_scikit_learns_divided_by_16():
    """Oracle: scikit-learn's own bundle, as a set of rows."""
    digits = Digits().load()
    ours = np.concatenate([digits.x, digits.test_x]).reshape(1797, 64) * 16
    labelled = np.column_stack([ours, np.concatenate([digits.y, digits.test_y])])
    bundle = load_digits()
    theirs = np.column_stack([bundle.data, bundle.target])
    assert np.array_equal(labelled[np.lexsort(labelled.T)], theirs[np.lexsort(theirs.T)])
    assert digits.x.dtype == np.float32
    assert digits.value_range == (digits.x.min(), digits.x.max()) == (0, 1)


def test_the_split_is_fixed_and_gives_each_class_its_share_to_within_one():
    digits = Digits().load()
    assert (digits.x.shape, digits.test_x.shape) == ((1437, 1, 8, 8), (360, 1, 8, 8))
    fair = np.bincount(load_digits().target) * 360 / 1797
    assert np.abs(np.bincount(digits.test_y) - fair).max() < 1
    assert np.array_equal(digits.x, Digits().load().x)
