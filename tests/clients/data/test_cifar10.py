import lzma
from dataclasses import replace

import numpy as np
import pytest

from gauntlet.clients.data import DATASETS
from gauntlet.clients.data.cifar10 import RECORDS, Cifar10, _join, _split
from gauntlet.core.errors import DataError


def records(label: int = 0) -> np.ndarray:
    """Return 10 000 records whose planes are 1 (red), 2 (green), 3 (blue)."""
    return np.concatenate([[label], np.repeat([1, 2, 3], 1024)]).astype(np.uint8)[None].repeat(10_000, axis=0)


@pytest.fixture
def folder(data_folder):
    path = data_folder / "cifar10"
    path.mkdir(parents=True)
    (path / "data_batch_1.bin.xz").write_bytes(lzma.compress(records(label=7).tobytes(), preset=0))
    (path / "test_batch.bin").write_bytes(records(label=2).tobytes())
    return path


@pytest.mark.slow
def test_the_first_batch_has_its_known_labels_and_pixels(real_data):
    """Published facts of data_batch_1: a frog first (6), red bytes 59 43 50, its class counts."""
    cifar = real_data("cifar10", num_batches=1)
    assert cifar.x.shape == (10_000, 3, 32, 32)
    assert cifar.y[:5].tolist() == [6, 9, 9, 4, 1]
    assert cifar.x[0, 0, 0, :3].tolist() == [59, 43, 50]
    assert np.bincount(cifar.y).tolist() == [1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981]
    assert np.bincount(cifar.test_y).tolist() == [1000] * 10


def test_packed_and_unpacked_batches_are_read_with_their_planes_as_channels(folder):
    cifar = Cifar10(num_batches=1).load()
    assert cifar.y.tolist() == [7] * 10_000
    assert cifar.test_y.tolist() == [2] * 10_000
    assert cifar.x[:, :, 5, 9].tolist() == [[1, 2, 3]] * 10_000
    assert (cifar.mean, cifar.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert replace(Cifar10(num_batches=1), normalize=False).load().mean == ()


def test_what_was_unpacked_is_not_unpacked_again(folder):
    Cifar10(num_batches=1).load()
    (folder / "data_batch_1.bin.xz").write_bytes(b"damaged meanwhile")
    assert Cifar10(num_batches=1).load().y.tolist() == [7] * 10_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not xz", "is not a whole xz file"),
        (lzma.compress(records().tobytes(), preset=0)[:-20], "is not a whole xz file"),
        (lzma.compress(b"short"), "holds 5 bytes, must be 10000 records of 3073"),
        (lzma.compress(records(label=10).tobytes(), preset=0), "holds label 10; labels must be below 10"),
    ],
)
def test_a_damaged_batch_is_named(folder, content, message):
    (folder / "data_batch_1.bin.xz").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        Cifar10(num_batches=1).load()
    assert str(folder / "data_batch_1.bin.xz") in str(caught.value)


def test_images_from_the_hub_are_kept_in_the_published_form():
    x, y = _split(records(label=4))
    assert np.array_equal(_join(x, y.astype(np.uint8)), records(label=4))
    assert records().shape == RECORDS


@pytest.mark.parametrize("num_batches", [0, 6])
def test_only_one_to_five_batches_exist(num_batches):
    with pytest.raises(Exception, match=rf"num_batches must be in \[1, 5\], got {num_batches}"):
        DATASETS.build("cifar10", {"num_batches": num_batches})
