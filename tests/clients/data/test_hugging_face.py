"""Data sets of Hugging Face's library from local folders; the library itself writes them."""

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from PIL import Image as Pictures

from gauntlet.clients.data import DATASETS, contract
from gauntlet.core.errors import DataError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GAUNTLET_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


def test_text_becomes_bytes_and_users_are_clients(tmp_path):
    rows = {"text": ["ab", "äb", ""] * 4, "label": [0, 1, 1] * 4, "user": ["x", "y", "y"] * 4}
    Dataset.from_dict(rows).save_to_disk(tmp_path / "reviews")
    options = {"client": "user", "text_length": 4, "num_classes": 2, "test_share": 0.25}
    found = DATASETS.build(f"hf:{tmp_path}/reviews", options).load()

    assert (found.num_tokens, found.name) == (257, "reviews")
    assert found.x.shape == (9, 4)
    words = {bytes(t - 1 for t in row if t).decode() for row in found.x.tolist()}
    assert words == {"ab", "äb", ""}
    assert np.unique(found.groups, return_counts=True)[1].tolist() == [3, 6]


def test_pictures_of_a_saved_dictionary_with_a_test_split_and_names_of_classes(tmp_path):
    features = Features({"image": Image(), "label": ClassLabel(names=["a", "b", "c"])})
    pictures = [Pictures.new("L", (3, 2), n) for n in range(8)]
    rows = {"image": pictures, "label": [0, 1] * 4}
    both = {name: Dataset.from_dict(rows, features=features) for name in ("train", "test")}
    DatasetDict(both).save_to_disk(tmp_path / "pictures")
    found = DATASETS.build(f"hf:{tmp_path}/pictures").load()

    assert (found.x.shape, found.x.dtype) == ((8, 1, 2, 3), np.uint8)
    assert found.x[:, 0, 0, 0].tolist() == list(range(8))
    assert (found.num_classes, found.fitted) == (3, ())
    assert len(found.test_x) == 8


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the library leaves it open
def test_a_folder_of_tables_and_a_regression(tmp_path):
    (tmp_path / "houses").mkdir()
    lines = "".join(f"{n},{n / 2}\n" for n in range(10))
    (tmp_path / "houses" / "train.csv").write_text("size,price\n" + lines)
    found = DATASETS.build(f"hf:{tmp_path}/houses", {"label": "price"}).load()

    assert found.targets is not None
    assert found.y[:, 0] == pytest.approx(found.x[:, 0] / 2)


def test_it_owes_what_every_data_set_owes(tmp_path):
    features = Features({"x": [Value("float32")], "label": Value("int64")})
    rows = {"x": [[n / 10, 1.0] for n in range(30)], "label": [n % 2 for n in range(30)]}
    Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "d")
    for check in contract.DATASET_CHECKS:
        check(DATASETS.build(f"hf:{tmp_path}/d"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "lable"}, "unknown column 'lable'"),
        ({"split": "trian"}, "unknown split 'trian'"),
        ({"label": "user"}, "name the column of inputs, input = one of text, label"),
    ],
)
def test_a_column_that_is_not_there_is_one_line(tmp_path, options, message):
    Dataset.from_dict({"text": ["a"] * 4, "label": [0] * 4, "user": [0] * 4}).save_to_disk(tmp_path / "d")
    with pytest.raises(DataError, match=message) as caught:
        DATASETS.build(f"hf:{tmp_path}/d", options).load()
    assert "\n" not in str(caught.value)


BY_WRITER = {"image": Image(), "writer_id": Value("string"), "hsf_id": Value("int64")}
FINE = {"fine_label": ClassLabel(num_classes=100), "coarse_label": ClassLabel(num_classes=20)}
BY_CELEBRITY = {"image": Image(), "celeb_id": Value("int64"), "Bald": Value("bool"), "Smiling": Value("bool")}
LINES = {"character_id": Value("string"), "x": Value("string"), "y": Value("string")}


@pytest.mark.parametrize(
    ("columns", "options", "shape", "classes", "clients"),
    [
        (
            BY_WRITER | {"character": ClassLabel(num_classes=62)},
            {"input": "image", "label": "character", "client": "writer_id", "users": 3},
            (1, 28, 28),
            62,
            3,
        ),
        ({"img": Image(), **FINE}, {"input": "img", "label": "fine_label"}, (3, 28, 28), 100, 0),
        ({"image": Image(), "label": ClassLabel(num_classes=10)}, {}, (3, 28, 28), 10, 0),
        (
            BY_CELEBRITY,
            {"input": "image", "label": "Smiling", "client": "celeb_id", "side": 8, "num_classes": 2},
            (3, 8, 8),
            2,
            4,
        ),
        (
            LINES,
            {"input": "x", "label": "y", "client": "character_id", "text_length": 6, "classes": list("abc")},
            (6,),
            3,
            4,
        ),
    ],
    ids=["femnist", "cifar100", "svhn", "celeba", "shakespeare"],
)
def test_tables_with_the_columns_of_published_ones(tmp_path, columns, options, shape, classes, clients):
    """Columns as the cards of flwrlabs/femnist, uoft-cs/cifar100, ufldl-stanford/svhn (cropped_digits),
    flwrlabs/celeba and flwrlabs/shakespeare have them; rows of our own."""

    def cell(name, kind, n):
        mode = "L" if "writer_id" in columns else "RGB"
        if isinstance(kind, Image):
            return Pictures.new(mode, (28, 28), n if mode == "L" else (n, 0, 0))
        if isinstance(kind, ClassLabel):
            return n % 10
        if kind.dtype == "bool":
            return bool(n % 2)
        return {"y": "abc"[n % 3], "x": f"line {n % 10}", "hsf_id": 0}.get(name, n // 10 + 7)

    rows = {name: [cell(name, kind, n) for n in range(40)] for name, kind in columns.items()}
    texts = {name: list(map(str, v)) if columns[name] == Value("string") else v for name, v in rows.items()}
    Dataset.from_dict(texts, features=Features(columns)).save_to_disk(tmp_path / "d")
    found = DATASETS.build(f"hf:{tmp_path}/d", options).load()

    assert (found.input_shape, found.num_classes, found.fitted) == (shape, classes, ())
    assert (0 if found.groups is None else len(set(found.groups.tolist()))) == clients
    if clients:
        assert np.unique(found.groups, return_counts=True)[1].tolist() == [8] * clients
    kept = found.x[:, 0, 0, 0] if len(shape) == 3 else found.x[:, 5] - 1 - ord("0")
    label = {"Smiling": 2, "y": 3}.get(options.get("label"), 10)
    if options.get("label") != "y":
        assert found.y.tolist() == [int(n) % label for n in kept]


def test_words_are_classes_and_learnt_unless_they_are_given(tmp_path):
    rows = {"x": [[float(n)] for n in range(9)], "label": ["no", "yes", "10"] * 3}
    Dataset.from_dict(rows).save_to_disk(tmp_path / "d")
    learnt = DATASETS.build(f"hf:{tmp_path}/d").load()
    given = DATASETS.build(f"hf:{tmp_path}/d", {"classes": ["yes", "no", "10", "?"]}).load()

    assert (learnt.num_classes, learnt.fitted) == (3, ("the classes",))
    assert (given.num_classes, given.fitted) == (4, ())
    order = [{"no": 1, "yes": 2, "10": 0}, {"no": 1, "yes": 0, "10": 2}]
    for data, codes in zip((learnt, given), order, strict=True):
        assert data.y.tolist() == [codes[["no", "yes", "10"][int(x) % 3]] for x in data.x[:, 0]]
    with pytest.raises(DataError, match="label '10' is none of the classes no, yes"):
        DATASETS.build(f"hf:{tmp_path}/d", {"classes": ["no", "yes"]}).load()


def test_offline_and_absent_is_one_line():
    with pytest.raises(
        DataError, match=r"hf:nobody/nothing: there is no folder of that name .* offline is set"
    ):
        DATASETS.build("hf:nobody/nothing").load()
