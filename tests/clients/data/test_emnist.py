"""EMNIST's files, by hand: small ones of the same format."""

import gzip
import struct

import numpy as np
import pytest

from gauntlet.clients.data import DATASETS, contract
from gauntlet.clients.data.emnist import SPLITS
from gauntlet.core.errors import DataError


def write(folder, labels, split="letters", images=None, cut=0):
    """Write both sets alike, as NIST does: pixel (row, column) is row + 2 column, seen transposed."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, columns = np.indices((28, 28))
    x = (
        np.broadcast_to((2 * rows + columns).astype(np.uint8), (len(labels), 28, 28))
        if images is None
        else images
    )
    for part in ("train", "test"):
        for kind, array in (("images-idx3", x), ("labels-idx1", np.array(labels, dtype=np.uint8))):
            head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            packed = gzip.compress(head + array.tobytes(), 1)
            (folder / f"emnist-{split}-{part}-{kind}-ubyte.gz").write_bytes(packed[: len(packed) - cut])


def test_images_are_turned_upright_and_letters_are_counted_from_0(data_folder):
    """Cohen et al. (2017): 26 classes of letters, from 1 in the files; rows and columns exchanged."""
    write(data_folder / "emnist", [1, 26, 13])
    found = DATASETS.build("emnist", {"split": "letters"}).load()

    assert (found.x.shape, found.x.dtype, found.num_classes) == ((3, 1, 28, 28), np.uint8, 26)
    assert found.x[0, 0, 3, :5].tolist() == [3, 5, 7, 9, 11]
    assert found.y.tolist() == found.test_y.tolist() == [0, 25, 12]
    assert found.mean == found.std == (0.5,)


def test_the_other_splits_are_counted_from_0(data_folder):
    """Table II of the paper: 62, 47, 47, 26, 10 and 10 classes."""
    assert list(SPLITS.values()) == [62, 47, 47, 26, 10, 10]
    write(data_folder / "emnist", [0, 46, 5], "balanced")
    found = DATASETS.build("emnist", {"normalize": False}).load()
    assert (found.y.tolist(), found.num_classes, found.mean) == ([0, 46, 5], 47, ())


def test_it_owes_what_every_data_set_owes(data_folder):
    write(data_folder / "emnist", list(range(10)), "digits")
    for check in contract.DATASET_CHECKS:
        check(DATASETS.build("emnist", {"split": "digits"}))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"labels": [1, 0]}, r"holds labels 0 to 1; must be in \[1, 26\]"),
        ({"labels": [1, 27]}, r"holds labels 1 to 27; must be in \[1, 26\]"),
        ({"labels": [1], "images": np.zeros((2, 28, 28), np.uint8)}, r"\[2, 28, 28\] pixels for 1 labels"),
        ({"labels": [1], "images": np.zeros((1, 28, 27), np.uint8)}, r"must be \[n, 28, 28\]"),
        (
            {"labels": [1], "images": np.zeros((1, 29, 28), np.uint8)},
            r"its header says \[1, 29, 28\], allowed",
        ),
        ({"labels": [1, 2, 3], "cut": 9}, "is not a whole gzip file"),
    ],
)
def test_files_that_hold_something_else_are_one_line(data_folder, written, message):
    write(data_folder / "emnist", **written)
    with pytest.raises(DataError, match=message) as caught:
        DATASETS.build("emnist", {"split": "letters"}).load()
    assert "\n" not in str(caught.value)


def test_without_files_it_says_which_and_where_to_get_them(data_folder):
    with pytest.raises(DataError, match=r"no folder holds emnist-balanced-train-images-idx3-ubyte\.gz"):
        DATASETS.build("emnist").load()
