"""SVHN's MAT-files; SciPy writes small ones of the same format."""

import struct
import zlib

import numpy as np
import pytest
from scipy.io import savemat

from gauntlet.clients.data import DATASETS, contract
from gauntlet.core.errors import DataError


def arrays(labels, dtype=np.uint8, shape=(32, 32, 3)):
    """Pixel (row, column, channel) of picture n is n + row + 2 column + 100 channel, modulo 256."""
    rows, columns, channels, n = np.indices((*shape, len(labels)))
    pixels = (n + rows + 2 * columns + 100 * channels).astype(np.uint8)
    return {"X": pixels, "y": np.array(labels, dtype=dtype)[:, None]}


@pytest.fixture
def folder(data_folder):
    place = data_folder / "svhn"
    place.mkdir(parents=True)
    savemat(place / "train_32x32.mat", arrays([1, 10, 9, 5]), do_compression=True)
    savemat(place / "test_32x32.mat", arrays([10, 2], np.float64), do_compression=False)
    savemat(place / "extra_32x32.mat", arrays([3]), do_compression=True)
    return place


def test_ten_is_digit_0_and_channels_come_first(folder):
    """The page of the data set: X [32, 32, 3, n], and digit 0 has label 10."""
    found = DATASETS.build("svhn").load()
    assert (found.y.tolist(), found.test_y.tolist(), found.num_classes) == ([1, 0, 9, 5], [0, 2], 10)
    assert (found.x.shape, found.x.dtype) == ((4, 3, 32, 32), np.uint8)
    assert [found.x[3, 2, 7, 4], found.x[1, 0, 0, 30]] == [3 + 7 + 8 + 200, 1 + 60]
    assert DATASETS.build("svhn", {"extra": True}).load().y.tolist() == [1, 0, 9, 5, 3]


def test_it_owes_what_every_data_set_owes(folder):
    savemat(folder / "train_32x32.mat", arrays(list(range(1, 11))), do_compression=True)
    for check in contract.DATASET_CHECKS:
        check(DATASETS.build("svhn"))


def packed(body, size=None):
    """A MAT-file with one packed element, whose tag may name another size than it has."""
    element = struct.pack("<II", 14, len(body) if size is None else size) + body
    squeezed = zlib.compress(element, 1)
    return b"MATLAB".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(squeezed)) + squeezed


def test_what_is_no_such_file_is_one_line(folder):
    whole = (folder / "train_32x32.mat").read_bytes()
    nested = {"X": np.empty((1, 1), dtype=object), "y": np.ones((1, 1))}
    nested["X"][0, 0] = np.ones(2)
    for content, message in [
        (whole[:-40], "an element of type 15 and"),
        (whole[:200], "an element of type 15 and"),
        (whole[:130], "it ends within a tag"),
        (whole[:60] + b"\xff" * 200, "its header is another"),
        (whole[:160] + bytes(40) + whole[200:], "is no whole MAT-file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(300), "its header is another"),
        (packed(bytes(2**20), 2**31), "an element of type 14 and 2147483648 bytes has 1048576 bytes"),
        (packed(bytes(100)), "must hold an array of numbers 'X'"),
        (nested, "must hold an array of numbers 'X'"),
        ({"X": arrays([1])["X"]}, "must hold an array of numbers 'y'"),
        (arrays([0, 1]), "labels must be whole numbers from 1 to 10, got 0 to 1"),
        (arrays([1.5], np.float64), "labels must be whole numbers from 1 to 10"),
        (arrays([1, 2]) | {"y": np.ones((3, 1))}, "2 pictures with 3 labels"),
        (arrays([1, 2], shape=(32, 31, 3)), r"X must be bytes \[32, 32, 3, n\], got uint8 \[32, 31, 3, 2\]"),
    ]:
        if isinstance(content, dict):
            savemat(folder / "train_32x32.mat", content)
        else:
            (folder / "train_32x32.mat").write_bytes(content)
        with pytest.raises(DataError, match=message) as caught:
            DATASETS.build("svhn").load()
        assert "\n" not in str(caught.value)


def test_a_small_file_does_not_unpack_to_more_than_was_expected(folder, monkeypatch):
    monkeypatch.setattr("gauntlet.clients.data.svhn.LARGEST", 2**17)
    (folder / "train_32x32.mat").write_bytes(packed(bytes(2**24)))
    with pytest.raises(DataError, match="it unpacks to more than 131072 bytes"):
        DATASETS.build("svhn").load()
    (folder / "train_32x32.mat").write_bytes(bytes(2**17 + 1))
    with pytest.raises(DataError, match="holds more than 131072 bytes"):
        DATASETS.build("svhn").load()
