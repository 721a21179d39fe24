"""LEAF's JSON files, by hand: small ones of the same format."""

import gzip
import json

import numpy as np
import pytest

from gauntlet.clients.data import DATASETS, PARTITIONS, contract, federate
from gauntlet.clients.data.leaf import Leaf
from gauntlet.clients.data.leaf_examples import LETTERS
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


def test_a_user_in_two_files_is_refused(tmp_path):
    """Else the later file's examples would be the user's only ones."""
    for packed in (False, True):
        leaf(tmp_path / "train", {"f0": writer(3), "f1": writer(5, 10)}, packed)
    with pytest.raises(DataError, match="has user 'f0', who stands in a file before it"):
        Leaf(str(tmp_path)).load()


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


def lines(*words, length=10):
    """A comment as LEAF's ``create_seqs`` writes it: its words in lines, and the words that follow."""
    said = ["<BOS>", *words, "<EOS>"]
    filled = [*said, *["<PAD>"] * (-len(said) % length)]
    after = [*said[1:], *["<PAD>"] * (1 + -len(said) % length)]
    cut = range(0, len(filled), length)
    return [filled[n : n + length] for n in cut], {"target_tokens": [after[n : n + length] for n in cut]}


def author(*comments):
    told = [lines(*comment.split()) for comment in comments]
    return {"x": [x for x, _ in told], "y": [y for _, y in told]}


def test_an_author_says_comments_and_each_word_is_followed_by_the_next(tmp_path):
    """By hand; the answers inside a comment are LEAF's ``target_tokens``."""
    leaf(
        tmp_path / "train", {"1": author("a b a c", "b a"), "2": author("q"), "3": author(" ".join("a" * 20))}
    )
    leaf(tmp_path / "test", {"1": author("a zebra a b b"), "3": author("a a a")})
    found = Leaf(str(tmp_path), kind="reddit", context=3).load()

    # 24 a, 3 <BOS>, <EOS> and b each more often than c and q: by frequency, of equals the first in code
    tokens = ["<PAD>", "<UNK>", "a", "<BOS>", "<EOS>", "b", "c", "q"]
    assert (found.num_tokens, found.num_classes, found.task) == (8, 8, "language_model")
    assert found.fitted == ("the vocabulary",)
    words = [" ".join(tokens[t] for t in row) for row in found.x[:3]]
    assert words == ["<BOS> a b", "a c <EOS>", "<BOS> b a"]
    assert [tokens[row[-1]] for row in found.y[:3]] == ["a", "<BOS>", "<EOS>"]
    assert (found.x[:, 1:] == found.y[:, :-1]).all()
    assert found.groups.tolist() == [0, 0, 0, *[1] * 7]  # author 2 says too little for one window
    assert [tokens[t] for t in found.test_x[0]] == ["<BOS>", "a", "<UNK>"]
    assert Leaf(str(tmp_path), kind="reddit", context=3, users=1).load().num_tokens == 7  # nobody says q


def test_a_given_vocabulary_is_public_and_cut(tmp_path):
    leaf(tmp_path / "train", {"1": author("a b a c", "b a b c c a b b a")})
    (tmp_path / "words.txt").write_text("<BOS>\nb\na\nc\n<PAD>\n")
    given = Leaf(
        str(tmp_path), kind="reddit", context=2, vocabulary=f"{tmp_path}/words.txt", num_tokens=5
    ).load()

    assert (given.num_tokens, given.fitted) == (5, ())
    assert set(given.x.ravel().tolist()) <= {1, 2, 3, 4}  # filling never occurs, c and <EOS> are unknown


def test_celebrities_smile_in_pictures_of_one_size(tmp_path):
    """LEAF's ``metadata_to_json``: names of files, and (attribute + 1) / 2; one colour stays that colour."""
    from PIL import Image

    names = [f"{n:06}.png" for n in range(6)]
    (tmp_path / "raw" / "img_align_celeba").mkdir(parents=True)
    for n, name in enumerate(names):
        Image.new("RGB", (17, 21), (n, 100, 200)).save(tmp_path / "raw" / "img_align_celeba" / name)
    both = {"7": {"x": names[:2], "y": [1.0, 0.0]}, "9": {"x": names[2:5], "y": [0.0, 0.0, 1.0]}}
    leaf(tmp_path / "train", both)
    leaf(tmp_path / "test", {"9": {"x": names[5:], "y": [1.0]}})
    found = Leaf(str(tmp_path), kind="celeba", side=6).load()

    assert (found.x.shape, found.x.dtype, found.num_classes, found.fitted) == ((5, 3, 6, 6), np.uint8, 2, ())
    assert (found.x == found.x[:, :, :1, :1]).all()
    assert found.x[:, :, 0, 0].tolist() == [[n, 100, 200] for n in range(5)]
    assert (found.y.tolist(), found.groups.tolist()) == ([1, 0, 0, 0, 1], [0, 0, 1, 1, 1])
    assert found.test_y.tolist() == [1]


@pytest.mark.parametrize(
    ("kind", "users"),
    [
        ("femnist", {f"f{n}": writer(4, n) for n in range(5)}),
        ("reddit", {f"{n}": author("a b " * 20, f"c d{n} " * 9) for n in range(5)}),
        ("shakespeare", {f"{n}": {"x": ["ab c"] * 5, "y": ["d"] * 5} for n in range(5)}),
    ],
)
def test_it_owes_what_every_data_set_owes(tmp_path, kind, users):
    leaf(tmp_path / "train", users)
    for check in contract.DATASET_CHECKS:
        check(DATASETS.build("leaf", {"path": str(tmp_path), "kind": kind}))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures that are whole, cut short, of 81 million pixels in 10 kB, and none."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures")
    Image.new("RGB", (8, 8), (1, 2, 3)).save(folder / "whole.png")
    (folder / "cut.png").write_bytes((folder / "whole.png").read_bytes()[:-30])
    Image.new("1", (9000, 9000)).save(folder / "wide.png")
    (folder / "text.png").write_text("no picture")
    return folder


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
        (
            {"a": {"x": ["../a.png"], "y": [1.0]}},
            "celeba",
            r"must be the name of a file in .*, got '\.\./a\.png'",
        ),
        ({"a": {"x": ["none.png"], "y": [1.0]}}, "celeba", r"none\.png is not a whole file"),
        ({"a": {"x": ["cut.png"], "y": [1.0]}}, "celeba", r"cut\.png: no whole picture"),
        ({"a": {"x": ["wide.png"], "y": [1.0]}}, "celeba", "9000 x 9000 pixels, at most 67108864 are read"),
        ({"a": {"x": ["text.png"], "y": [1.0]}}, "celeba", r"text\.png: no whole picture"),
        ({"a": {"x": ["whole.png"], "y": [0.5]}}, "celeba", "a label must be 0 or 1, got 0.5"),
        ({"a": {"x": ["a b c"], "y": [{}]}}, "reddit", "has no user with examples"),
        ({"a": {"x": [[[1, 2]]], "y": [{}]}}, "reddit", "a comment must be lists of words, got 1"),
        ({"a": {"x": 3, "y": [{}]}}, "reddit", "user 'a': 'int' object is not iterable"),
        ({"a": {"x": ["ab"], "y": ["cd"]}}, "shakespeare", "a label must be one letter, got 'cd'"),
    ],
)
def test_what_is_no_leaf_is_one_line(tmp_path, pictures, users, kind, message):
    leaf(tmp_path / "train", users)
    with pytest.raises(DataError, match=message) as caught:
        Leaf(str(tmp_path), kind=kind, images=str(pictures)).load()
    assert "\n" not in str(caught.value)


def test_a_folder_without_files_and_a_file_of_something_else(tmp_path):
    with pytest.raises(DataError, match=r"holds no \.json file of LEAF"):
        Leaf(str(tmp_path)).load()
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a.json").write_text("[1, 2]")
    with pytest.raises(DataError, match=r"a\.json is no file of LEAF"):
        Leaf(str(tmp_path)).load()
