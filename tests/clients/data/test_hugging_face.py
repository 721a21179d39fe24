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


def test_offline_and_absent_is_one_line():
    with pytest.raises(
        DataError, match=r"hf:nobody/nothing: there is no folder of that name .* offline is set"
    ):
        DATASETS.build("hf:nobody/nothing").load()
