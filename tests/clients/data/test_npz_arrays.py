"""Arrays of one's own, by hand."""

import io
import pickle
import zipfile

import numpy as np
import pytest

from gauntlet.clients.data import DATASETS, contract
from gauntlet.clients.data.npz_arrays import NpzArrays
from gauntlet.core.errors import DataError

PIXELS = np.arange(20 * 12, dtype=np.uint8).reshape(20, 1, 3, 4)


def saved(folder, **arrays):
    np.savez(folder / "own.npz", **arrays)
    return str(folder / "own.npz")


def test_images_with_a_test_set_come_as_they_are(tmp_path):
    path = saved(tmp_path, x=PIXELS, y=np.arange(20) % 3, test_x=PIXELS[:2], test_y=np.array([2, 1]))
    found = NpzArrays(path).load()

    assert np.array_equal(found.x, PIXELS)
    assert found.x.dtype == np.uint8
    assert (found.num_classes, found.test_y.tolist(), found.name) == (3, [2, 1], "own")
    assert found.fitted == ("the number of classes (npz: num_classes)",)
    assert NpzArrays(path, num_classes=5).load().fitted == ()


def test_rows_are_held_out_of_each_client_and_nobody_twice(tmp_path):
    x = np.arange(20, dtype=np.float64)[:, None]
    path = saved(tmp_path, x=x, y=np.arange(20) % 2, client=np.repeat([0, 1], 10))
    found = NpzArrays(path, test_share=0.3).load()

    assert np.bincount(found.groups).tolist() == [7, 7]
    assert sorted(np.concatenate([found.x, found.test_x]).ravel().tolist()) == list(range(20))
    assert found.y.tolist() == (found.x.ravel() % 2).astype(int).tolist()
    assert found.groups.tolist() == (found.x.ravel() >= 10).astype(int).tolist()
    assert found.value_range == (0, 19)


def test_real_labels_are_targets_and_integers_may_be_tokens(tmp_path):
    found = NpzArrays(saved(tmp_path, x=np.ones((8, 2)), y=np.linspace(0, 1, 8))).load()
    assert found.y.shape[1:] == (1,)
    assert found.targets.names == ("y0",)

    path = saved(tmp_path, x=np.arange(16).reshape(8, 2), y=np.zeros(8, dtype=int))
    found = NpzArrays(path, num_tokens=16, num_classes=2).load()
    assert found.x.dtype == np.int64
    assert found.num_tokens == 16


def test_it_owes_what_every_data_set_owes(tmp_path):
    path = saved(tmp_path, x=PIXELS, y=np.arange(20) % 2)
    for check in contract.DATASET_CHECKS:
        check(DATASETS.build("npz", {"path": path}))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": PIXELS}, "has no array y; it has x"),
        ({"x": PIXELS, "y": np.arange(19)}, "equally long, got x 20, y 19"),
        ({"x": PIXELS, "y": np.arange(20), "z": np.arange(3)}, "unknown array 'z'"),
        ({"x": PIXELS, "y": np.arange(20), "test_x": PIXELS}, "has no array test_y"),
        ({"x": PIXELS, "y": np.array(["a"] * 20)}, "y must be integers or real numbers"),
        ({"x": np.array(["a"] * 20)[:, None], "y": np.arange(20)}, "x must be numbers"),
        ({"x": np.arange(20), "y": np.arange(20)}, r"x must be \[n, ...\], got \[20\]"),
        ({"x": np.full((20, 2), np.nan), "y": np.arange(20)}, "NaN or infinity"),
        ({"x": PIXELS, "y": np.arange(20) - 1}, "labels must be int64 in"),
        ({"x": PIXELS, "y": np.array([object()] * 20)}, r"no \.npz file of plain arrays"),
        ({"x": PIXELS, "y": np.int64(1)}, r"arrays \[n, ...\] of at least one number, got y \[\]"),
        ({"x": PIXELS[:0], "y": np.arange(0)}, r"at least one number, got x \[0, 1, 3, 4\]"),
        ({"x": PIXELS[:1], "y": np.arange(1)}, "1 rows are too few to hold 0.2 of them out"),
    ],
)
def test_arrays_that_do_not_fit_are_named_in_one_line(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message) as caught:
        NpzArrays(saved(tmp_path, **arrays)).load()
    assert "\n" not in str(caught.value)


def test_damaged_bytes_and_absurd_shapes_are_named_in_one_line(tmp_path):
    path = tmp_path / "own.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).random((20, 3)), y=np.arange(20) % 2)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as packed:
        members = packed.infolist()
    for place in range(members[0].header_offset + 60, members[1].header_offset, 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x5A]) + content[place + 1 :])
        with pytest.raises(DataError, match=r"no \.npz file of plain arrays"):
            NpzArrays(str(path)).load()
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000000000000000000,), }"
    with zipfile.ZipFile(path, "w") as packed:
        for name in ("x.npy", "y.npy"):
            packed.writestr(name, b"\x93NUMPY\x01\x00v\x00" + header.ljust(117) + b"\n")
    with pytest.raises(DataError, match=r"no \.npz file of plain arrays"):
        NpzArrays(str(path)).load()


class Bomb:
    def __reduce__(self):
        return print, ("unpickled",)


def test_nothing_is_unpickled_and_no_header_is_believed(tmp_path, capsys):
    path = tmp_path / "own.npz"
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000, 10), }"
    lying = header.ljust(127) + b"\n"
    for content in (pickle.dumps(Bomb()), lying):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("x.npy", content)
            archive.writestr("y.npy", content)
        path.write_bytes(packed.getvalue())
        with pytest.raises(DataError, match=r"no \.npz file of plain arrays"):
            NpzArrays(str(path)).load()
    path.write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(DataError, match=r"no \.npz file of plain arrays"):
        NpzArrays(str(path)).load()
    assert "unpickled" not in capsys.readouterr().out


def test_options_outside_their_range_are_refused():
    for options in ({"test_share": 1.0}, {"num_classes": -1}, {"low": 1.0, "high": 0.5}):
        with pytest.raises(ValueError, match="must be"):
            NpzArrays("own.npz", **options)


def test_a_label_that_is_none_asks_for_no_model_that_fills_the_memory(tmp_path):
    path = str(tmp_path / "own.npz")
    np.savez(path, x=np.zeros((10, 2), dtype=np.float32), y=np.full(10, 10**9))

    with pytest.raises(DataError, match="the largest label is 1000000000; at most 10000 classes are learnt"):
        NpzArrays(path).load()
    assert NpzArrays(path, num_classes=10**9 + 1).load().num_classes == 10**9 + 1
