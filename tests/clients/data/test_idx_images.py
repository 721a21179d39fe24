import gzip
import struct

import numpy as np
import pytest

from gauntlet.clients.data import DATASETS
from gauntlet.clients.data.files import write_array
from gauntlet.clients.data.idx_images import FILES, IdxImages
from gauntlet.core.errors import DataError


def write(folder, images=(3, 28, 28), labels=(0, 9, 5)):
    """Write both splits alike: pixels count up, modulo 256."""
    folder.mkdir(parents=True)
    pixels = (np.arange(np.prod(images)) % 256).astype(np.uint8).tobytes()
    for file in FILES:
        shape, body = (images, pixels) if "images" in file else ((len(labels),), bytes(labels))
        head = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
        (folder / file).write_bytes(gzip.compress(head + body))


def test_mnist_has_its_known_labels_and_pixels(real_data):
    """Published facts: sizes, first labels 5 0 4 1 9, class counts, mean .1307 and deviation .3081."""
    mnist = real_data("mnist")
    assert (mnist.x.shape, mnist.test_x.shape) == ((60_000, 1, 28, 28), (10_000, 1, 28, 28))
    assert mnist.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(mnist.y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    pixels, times = np.arange(256) / 255, np.bincount(mnist.x.ravel())
    mean = np.average(pixels, weights=times)
    assert mnist.mean == pytest.approx([mean], abs=5e-5)
    assert mnist.std == pytest.approx([np.sqrt(np.average((pixels - mean) ** 2, weights=times))], abs=5e-5)


def test_fashion_mnist_has_its_known_labels(real_data):
    """Published facts: 6000 of each class, the first labels 9 0 0 3 0."""
    fashion = real_data("fashion_mnist")
    assert np.bincount(fashion.y).tolist() == [6000] * 10
    assert fashion.y[:5].tolist() == [9, 0, 0, 3, 0]
    assert (fashion.mean, fashion.std) == ((0.5,), (0.5,))


def test_files_in_the_given_folder_are_read(data_folder):
    write(data_folder / "mnist")
    mnist = DATASETS.build("mnist", {"normalize": False}).load()
    assert mnist.x.shape == (3, 1, 28, 28)
    assert mnist.x[0, 0, 1].tolist() == list(range(28, 56))
    assert mnist.y.tolist() == mnist.test_y.tolist() == [0, 9, 5]
    assert mnist.mean == mnist.std == ()


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"images": (2, 28, 28)}, "pixels for 3 labels"),
        ({"images": (3, 27, 28)}, r"must be \[n, 28, 28\]"),
        ({"labels": (0, 1, 10)}, "holds label 10; labels must be below 10"),
    ],
)
def test_files_that_hold_something_else_are_named(data_folder, written, message):
    write(data_folder / "mnist", **written)
    with pytest.raises(DataError, match=message) as caught:
        DATASETS.build("mnist").load()
    assert str(data_folder / "mnist" / "train-") in str(caught.value)


def test_what_the_hub_once_gave_is_read_from_the_cache(data_folder, tmp_path):
    cache = tmp_path / "cache" / "gauntlet" / "nowhere"
    for split, size in (("train", 60_000), ("test", 10_000)):
        write_array(cache / f"{split}-images.npy", np.full((size, 1, 28, 28), 3, dtype=np.uint8))
        write_array(cache / f"{split}-labels.npy", np.full(size, 4, dtype=np.uint8))
    data = IdxImages("nowhere", "someone/nowhere", mean=0.1, std=0.2).load(normalize=True)
    assert (data.x.max(), data.test_y.min(), data.mean, data.std) == (3, 4, (0.1,), (0.2,))


def test_without_files_there_is_one_line_that_says_how_to_get_them(data_folder):
    with pytest.raises(DataError, match="no folder holds train-images-idx3-ubyte"):
        IdxImages("nowhere", "someone/nowhere", mean=0.1, std=0.2).load(normalize=True)
