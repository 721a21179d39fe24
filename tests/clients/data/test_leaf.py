"""LEAF's JSON files, by hand: small ones of the same format."""

import gzip
import json

import numpy as np
import pytest

from gauntlet.clients.data import DATASETS, PARTITIONS, contract, federate
from gauntlet.clients.data.leaf import LETTERS, Leaf
from gauntlet.core.errors import DataError


def leaf(folder, users, packed=False):
    """Write a file as ``preprocess.sh`` does."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = [len(values["y"]) for values in users.values()]
    text = json.dumps({"users": list(users), "num_samples": sizes, "user_data": users})
    if packed:
        (folder / "all_data_niid_0.json.gz").write_bytes(gzip.compress(text.encode()))
    else:
        (folder / "all_data_niid_0.json").write_text(text)


def writer(count, first=0):
    x = [[(n + first) / 100] * 784 for n in range(count)]
    return {"x": x, "y": [(n + first) % 62 for n in range(count)]}


def test_writers_are_clients_and_pixels_are_as_in_the_file(tmp_path):
    leaf(tmp_path / "train", {"f0": writer(3), "f1": writer(5, 10), "f2": {"x": [], "y": []}})
    leaf(tmp_path / "test", {"f0": writer(1), "f1": writer(2, 10), "stranger": writer(4)})
    found = Leaf(str(tmp_path)).load()

    assert (found.x.shape, found.x.dtype) == ((8, 1, 28, 28), np.float32)
    assert found.groups.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    assert found.y.tolist() == [0, 1, 2, 10, 11, 12, 13, 14]
    assert found.x[:, 0, 5, 5] == pytest.approx([0, 0.01, 0.02, 0.1, 0.11, 0.12, 0.13, 0.14])
    assert found.test_y.tolist() == [0, 10, 11]
    assert (found.num_classes, found.fitted, found.value_range) == (62, (), (0, 1))
    assert Leaf(str(tmp_path), users=1).load().groups.tolist() == [0, 0, 0]
    assert federate(Leaf(str(tmp_path)), PARTITIONS.build("natural"), 2, 0).num_examples(1) == 5


def test_a_text_is_tokens_and_its_class_is_the_letter_that_follows(tmp_path):
    """LEAF's ``word_to_indices`` and ``letter_to_vec``: places in ALL_LETTERS, of which there are 80."""
    leaf(
        tmp_path / "train",
        {"ROMEO": {"x": ["ab c", "b cd", " cd}"] * 4, "y": ["d", "}", "\n"] * 4}},
        packed=True,
    )
    found = Leaf(str(tmp_path), kind="shakespeare", test_share=0.25).load()

    assert len(LETTERS) == 80
    assert (found.num_classes, found.num_tokens, found.fitted) == (80, 80, ())
    assert (found.x.shape, found.test_x.shape) == ((9, 4), (3, 4))
    first = found.x.tolist().index([LETTERS.index(c) for c in "ab c"])
    assert LETTERS[found.y[first]] == "d"


def test_it_owes_what_every_data_set_owes(tmp_path):
    leaf(tmp_path / "train", {f"f{n}": writer(4, n) for n in range(5)})
    for check in contract.DATASET_CHECKS:
        check(DATASETS.build("leaf", {"path": str(tmp_path)}))


@pytest.mark.parametrize(
    ("users", "kind", "message"),
    [
        ({"a": {"x": [[0.5] * 3], "y": [1]}}, "femnist", "user 'a': inputs must be lists of 784 numbers"),
        ({"a": {"x": [[0.5] * 784], "y": [1, 2]}}, "femnist", "1 inputs with 2 labels"),
        ({"a": {"x": [[0.5] * 784] * 9, "y": [99] * 9}}, "femnist", r"labels must be int64 in \[0, 61\]"),
        ({"a": {"x": ["ä"], "y": ["a"]}}, "shakespeare", "letter 'ä' is none of LEAF's 80"),
        ({"a": {"x": ["ab", "a"], "y": ["a", "b"]}}, "shakespeare", "equally long"),
        ({"a": {"x": [], "y": []}}, "femnist", "has no user with examples"),
        (
            {"a": {"x": [[255.0] * 784] * 9, "y": [1] * 9}},
            "femnist",
            "pixels must be from 0 to 1, got 255 to 255",
        ),
        ({"a": {"x": [[0.5] * 784] * 9, "y": [1.7] * 9}}, "femnist", "labels must be whole numbers, got 1.7"),
        (
            {"a": {"x": [[0.5] * 784] * 9, "y": [True] * 9}},
            "femnist",
            "labels must be whole numbers, got True",
        ),
        ({"a": {"x": ["ab"], "y": ["cd"]}}, "shakespeare", "a label must be one letter, got 'cd'"),
    ],
)
def test_what_is_no_leaf_is_one_line(tmp_path, users, kind, message):
    leaf(tmp_path / "train", users)
    with pytest.raises(DataError, match=message) as caught:
        Leaf(str(tmp_path), kind=kind).load()
    assert "\n" not in str(caught.value)


def test_a_folder_without_files_and_a_file_of_something_else(tmp_path):
    with pytest.raises(DataError, match=r"holds no \.json file of LEAF"):
        Leaf(str(tmp_path)).load()
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.json").write_text("[1, 2]")
    with pytest.raises(DataError, match=r"a\.json is no file of LEAF"):
        Leaf(str(tmp_path)).load()
