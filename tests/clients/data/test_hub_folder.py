"""A folder of Hugging Face's library that names files outside of itself, or on the net."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pyarrow as pa
import pytest
from datasets import Dataset, DatasetDict, Features, Image, List, Value
from pyarrow import parquet

from gauntlet.clients.data import DATASETS
from gauntlet.core.errors import DataError

SECRET = "text,label\nsecret,0\nsecret,1\n"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GAUNTLET_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def server():
    """A server on this machine that notes what it is asked for: the notes, and its address."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *words):
            return None

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
        yield seen, f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


@pytest.fixture
def asked(server):
    server[0].clear()
    return server


def load(folder, **options):
    return DATASETS.build(f"hf:{folder}", options).load()


def card(pattern, key="data_files"):
    told = f"note: a---b\nconfigs:\n- config_name: default\n  {key}: {json.dumps(pattern)}\n"
    return f"---\n{told}---\n# A table\n"


@pytest.mark.parametrize("name", ["README.md", ".huggingface.yaml"])
@pytest.mark.parametrize(
    ("pattern", "key"),
    [
        ("{root}/secret.csv", "data_files"),
        ("../secret.csv", "data_files"),
        ([{"split": "train", "path": ["inside.csv", "a/../../secret.csv"]}], "data_files"),
        ("{net}/secret.csv", "data_files"),
        ("zip://x.csv::{net}/secret.zip", "data_files"),
        ("hf://datasets/somebody/something/x.csv", "data_files"),
        ("~/secret.csv", "data_files"),
        ("..", "data_dir"),
    ],
)
def test_a_card_that_names_files_elsewhere_is_refused_before_anything_looks_for_them(
    tmp_path, asked, name, pattern, key
):
    (tmp_path / "secret.csv").write_text(SECRET)
    folder = tmp_path / "given"
    folder.mkdir()
    (folder / "inside.csv").write_text(SECRET)
    text = card(pattern, key).replace("{root}", str(tmp_path)).replace("{net}", asked[1])
    (folder / name).write_text(text if name.endswith(".md") else text.split("---\n")[1])

    with pytest.raises(DataError, match="is outside the folder; only files inside are read") as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert asked[0] == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the library leaves it open
def test_a_card_that_names_files_inside_is_followed(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "rows.csv").write_text("text,label\n" + "word,0\nother,1\n" * 5)
    (tmp_path / "left-out.csv").write_text(SECRET)
    (tmp_path / "README.md").write_text(card([{"split": "train", "path": "a/*.csv"}]))

    assert len(load(tmp_path, text_length=5).x) == 8  # of 10 rows a fifth is held out


def test_a_link_out_of_the_folder_and_a_kind_that_may_name_other_files_are_refused(tmp_path):
    (tmp_path / "secret.csv").write_text(SECRET)
    folder = tmp_path / "given"
    folder.mkdir()
    (folder / "train.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(DataError, match="is outside the folder"):
        load(folder)
    (folder / "train.csv").unlink()
    (folder / "train.h5").write_bytes(b"\x89HDF")
    with pytest.raises(DataError, match=r"train\.h5 is of a kind that is not read from a folder"):
        load(folder)


def test_a_saved_table_does_not_list_files_or_splits_elsewhere(tmp_path):
    Dataset.from_dict({"text": ["a"] * 4, "label": [0] * 4}).save_to_disk(tmp_path / "mine")
    DatasetDict({"train": Dataset.from_dict({"text": ["b"] * 4, "label": [1] * 4})}).save_to_disk(
        tmp_path / "given"
    )
    state = tmp_path / "given" / "train" / "state.json"
    told = json.loads(state.read_text())
    file = f"../../mine/{next((tmp_path / 'mine').glob('*.arrow')).name}"
    state.write_text(json.dumps(told | {"_data_files": [{"filename": file}]}))
    with pytest.raises(DataError, match="is outside the folder"):
        load(tmp_path / "given")
    (tmp_path / "given" / "dataset_dict.json").write_text('{"splits": ["../mine"]}')
    with pytest.raises(DataError, match="is outside the folder"):
        load(tmp_path / "given")


@pytest.mark.parametrize("path", ["{root}/secret.png", "{net}/secret.png", "../secret.png"])
def test_a_row_that_is_the_path_of_a_picture_elsewhere_is_refused(tmp_path, asked, path):
    """A table's column of pictures may hold paths in place of bytes, which the library would open."""
    from PIL import Image as Pictures

    Pictures.new("L", (2, 2), 7).save(tmp_path / "secret.png")
    place = path.replace("{root}", str(tmp_path)).replace("{net}", asked[1])
    schema = Features({"image": Image(), "label": Value("int64")}).arrow_schema
    rows = {"image": [{"bytes": None, "path": place}] * 4, "label": [0, 1] * 2}
    (tmp_path / "given").mkdir()
    parquet.write_table(pa.Table.from_pydict(rows, schema), tmp_path / "given" / "train.parquet")
    with pytest.raises(DataError, match=r"outside the folder|is not a whole file"):
        load(tmp_path / "given")
    assert asked[0] == []


def test_pictures_inside_other_columns_are_not_opened(tmp_path):
    features = Features({"x": List(Image()), "label": Value("int64")})
    rows = {"x": [[{"bytes": b"", "path": "/etc/passwd"}]] * 4, "label": [0, 1] * 2}
    Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "given")
    with pytest.raises(DataError, match="column 'x' must be pictures, numbers or text, got List"):
        load(tmp_path / "given")


def test_a_folder_of_pictures_by_class_is_read_and_brought_to_one_size(tmp_path):
    """The library's own layout, split/class/picture; a grey square of 7 stays one of 7 in any size."""
    from PIL import Image as Pictures

    for n in range(6):
        place = tmp_path / "train" / "ab"[n % 2]
        place.mkdir(parents=True, exist_ok=True)
        Pictures.new("L", (4 + n, 3), 7 + n).save(place / f"{n}.png")
    found = load(tmp_path, side=2, test_share=0.34)

    assert found.x.shape == (4, 1, 2, 2)
    assert (found.x == found.x[:, :, :1, :1]).all()
    assert sorted(found.x[:, 0, 0, 0].tolist() + found.test_x[:, 0, 0, 0].tolist()) == [7, 8, 9, 10, 11, 12]
    assert [v % 2 for v in (found.x[:, 0, 0, 0] - 7).tolist()] == found.y.tolist()
