"""CIFAR-100's binary files, by hand: small ones of the same format."""

import gzip
import lzma

import numpy as np
import pytest

from gauntlet.clients.data import DATASETS, contract
from gauntlet.clients.data.cifar100 import SIZES
from gauntlet.clients.data.files import write_array
from gauntlet.core.errors import DataError


def records(*labels):
    """Return records of (coarse, fine) labels whose planes are 1 (red), 2 (green) and 3 (blue)."""
    planes = np.repeat(np.array([1, 2, 3], dtype=np.uint8), 1024).tobytes()
    return b"".join(bytes(pair) + planes for pair in labels)


@pytest.fixture
def folder(data_folder):
    place = data_folder / "cifar100"
    place.mkdir(parents=True)
    (place / "train.bin.gz").write_bytes(gzip.compress(records((19, 99), (0, 4), (11, 30)), 1))
    (place / "test.bin").write_bytes(records((1, 1)))
    return place


def test_a_record_is_the_coarse_label_the_fine_one_and_three_planes(folder):
    fine = DATASETS.build("cifar100").load()
    coarse = DATASETS.build("cifar100", {"labels": "coarse", "normalize": False}).load()

    assert (fine.y.tolist(), fine.test_y.tolist(), fine.num_classes) == ([99, 4, 30], [1], 100)
    assert (coarse.y.tolist(), coarse.num_classes, coarse.mean) == ([19, 0, 11], 20, ())
    assert (fine.x.shape, fine.x.dtype) == ((3, 3, 32, 32), np.uint8)
    assert fine.x[:, :, 5, 9].tolist() == [[1, 2, 3]] * 3


def test_it_owes_what_every_data_set_owes(folder):
    (folder / "train.bin.xz").write_bytes(lzma.compress(records(*((n, n) for n in range(10))), preset=0))
    (folder / "train.bin.gz").unlink()
    for check in contract.DATASET_CHECKS:
        check(DATASETS.build("cifar100"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (records((0, 100)), "holds fine label 100; fine labels must be below 100"),
        (records((20, 0)), "holds coarse label 20; coarse labels must be below 20"),
        (records((0, 0))[:-1], "holds 3073 bytes, must be records of 3074"),
        (b"", "holds 0 bytes"),
        (gzip.compress(bytes(10_001 * 3074), 1), "holds more than 30740000 bytes"),
    ],
)
def test_a_damaged_file_is_one_line(folder, content, message):
    (folder / "test.bin").unlink()
    (folder / ("test.bin.gz" if content[:2] == b"\x1f\x8b" else "test.bin")).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        DATASETS.build("cifar100").load()
    assert "\n" not in str(caught.value)


def test_what_the_hub_once_gave_is_read_from_the_cache(data_folder, tmp_path, monkeypatch):
    """Sizes stand in for 50 000 and 10 000, whose pixels would be 184 MB."""
    cache = tmp_path / "cache" / "gauntlet" / "cifar100"
    for part, size in (("train", 4), ("test", 2)):
        monkeypatch.setitem(SIZES, part, size)
        write_array(cache / f"{part}-images.npy", np.full((size, 3, 32, 32), 3, dtype=np.uint8))
        write_array(cache / f"{part}-fine.npy", np.full(size, 40, dtype=np.uint8))
    assert DATASETS.build("cifar100").load().y.tolist() == [40] * 4
    with pytest.raises(DataError, match=r"no folder holds train\.bin, test\.bin .*'uoft-cs/cifar100'"):
        DATASETS.build("cifar100", {"labels": "coarse"}).load()
