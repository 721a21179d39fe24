import gzip
import os
import struct

import numpy as np
import pytest

from gauntlet.clients.data import DATASETS, files
from gauntlet.clients.data.files import (
    data_roots,
    find_folder,
    missing,
    read_array,
    read_idx,
    write_array,
)
from gauntlet.core.errors import DataError


def idx(*shape: int, magic: bytes = b"\0\0\x08") -> bytes:
    return magic + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


def packed(content: bytes) -> bytes:
    """Return gzip without the time, so that equal cases have equal names in every process."""
    return gzip.compress(content, mtime=0)


def test_an_idx_file_is_read_as_its_header_says(tmp_path):
    """The IDX format by hand: 0 0 8 ndim, big-endian sizes, bytes in C order."""
    path = tmp_path / "x.gz"
    path.write_bytes(packed(idx(2, 2, 3) + bytes(range(12))))
    assert read_idx(path, (2, 2, 3)).tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello", "not a whole gzip file"),
        (packed(idx(4) + bytes(4))[:-9], "not a whole gzip file"),
        (packed(bytes(9))[:10] + b"\xff" * 12, "not a whole gzip file"),  # no such block of deflate
        (b"", "not an idx file|not a whole gzip file"),
        (packed(idx(4) + bytes(3)), r"holds 3 bytes, but its header says \[4\] = 4"),
        (packed(idx(4) + bytes(9)), "holds more than 16 bytes, which is all that was expected"),
        (packed(idx(4) + bytes(5)), r"holds 5 bytes, but its header says \[4\] = 4"),
        (packed(idx(2**32 - 1) + bytes(4)), r"header says \[4294967295\], allowed at most \[8\]"),
        (
            packed(idx(2, 2) + bytes(4)),
            "not an idx file of bytes: starts with 00000802, must be 00000801",
        ),
        (packed(idx(4, magic=b"\0\0\x0d") + bytes(4)), "not an idx file"),
        (packed(idx(4)[:6]), "not an idx file"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, message):
    path = tmp_path / "y.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path, (8,))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_given_folder_is_searched_first_and_the_cache_last(data_folder, tmp_path):
    roots = data_roots()
    assert roots[0] == data_folder
    assert roots[-1] == tmp_path / "cache" / "gauntlet"
    for root in (roots[-1], roots[0]):  # found in the cache, until it is found in the given folder
        (root / "nowhere").mkdir(parents=True)
        (root / "nowhere" / "a").touch()
        assert find_folder("nowhere", ["a"]) == root / "nowhere"
    assert find_folder("nowhere", ["a", "b"]) is None


def test_a_cached_array_comes_back_and_anything_else_counts_as_absent(tmp_path):
    path = tmp_path / "deep" / "x.npy"
    array = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert read_array(path, (2, 3)) is None
    write_array(path, array)
    assert np.array_equal(read_array(path, (2, 3)), array)
    assert read_array(path, (3, 2)) is None
    assert os.listdir(path.parent) == ["x.npy"]
    path.write_bytes(path.read_bytes()[:-1])
    assert read_array(path, (2, 3)) is None


def test_a_cache_is_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = tmp_path / "x.npy"
    np.save(path, np.array([Trap()], dtype=object), allow_pickle=True)
    assert read_array(path, (1,)) is None
    assert not (tmp_path / "sprung").exists()


def test_a_cache_whose_header_promises_terabytes_is_not_read(tmp_path):
    with (tmp_path / "x.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": (2**50,)}
        )
    assert read_array(tmp_path / "x.npy", (2**50,)) is None


def test_the_message_for_missing_files_names_the_variable_that_says_where_they_are(data_folder, monkeypatch):
    monkeypatch.setenv("GAUNTLET_DATA", "/far/away")
    said = str(missing("mnist", ["a.gz", "b.gz"], "get them from their authors"))

    assert "no folder holds a.gz, b.gz (looked in /far/away/mnist, " in said
    assert (
        "set $GAUNTLET_DATA, now '/far/away', to the folder in which a folder 'mnist' holds them, or" in said
    )
    assert said.endswith("or get them from their authors")

    monkeypatch.delenv("GAUNTLET_DATA")
    assert "set $GAUNTLET_DATA, now not set, to" in str(missing("mnist", ["a.gz"], "get it"))


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "adult", "heart_disease", "mobility"])
def test_every_data_set_of_files_names_the_variable_where_it_is_missing(name, data_folder, monkeypatch):
    monkeypatch.setattr(files, "data_roots", lambda: [data_folder])
    with pytest.raises(DataError, match=rf"set \$GAUNTLET_DATA.* a folder '{name}' holds them"):
        DATASETS.build(name).load()


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").touch()
    write_array(tmp_path / "file" / "x.npy", np.zeros(3, dtype=np.uint8))
    assert (tmp_path / "file").is_file()
    (tmp_path / "folder" / "x.npy").mkdir(parents=True)
    write_array(tmp_path / "folder" / "x.npy", np.zeros(3, dtype=np.uint8))
    assert os.listdir(tmp_path / "folder") == ["x.npy"]
