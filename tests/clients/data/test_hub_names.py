"""What a name on the Hugging Face hub is, and what is said where the hub is out of reach."""

import json
import shutil
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
from huggingface_hub import constants

from gauntlet.clients.data import DATASETS
from gauntlet.core.errors import DataError


@pytest.fixture
def out_of_reach(monkeypatch):
    """Nobody listens where the hub is said to be."""
    for name in ("GAUNTLET_OFFLINE", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)


NO_NAMES = [
    *(
        "",
        "../x",
        "/nowhere/x",
        "a b",
        "name@rev",
        "user/name@rev",
        "a/b/c",
        "a\nb",
        "--x",
        "user/..",
        "~nobody/x",
    ),
    *("https://example.org/x.zip", "hf://datasets/u/d", "s3://b/x", "a" * 97, "n\0x"),
]


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_on_the_hub_is_refused_in_one_line_and_nobody_is_asked(name, out_of_reach):
    with pytest.raises(DataError, match=r"is no folder .* and no name on the hub") as refusal:
        DATASETS.build(f"hf:{name}", {}).load()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["csv", "json", "text", "parquet", "imagefolder", "script.py"])
def test_a_name_of_a_reader_does_not_read_the_working_folder(name, out_of_reach, tmp_path, monkeypatch):
    """The library's load_dataset("csv") takes every file below the working folder."""
    (tmp_path / "train.csv").write_text("x,label\n1,0\n2,1\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DataError, match=f"hf:{name} is no data set but how one is read"):
        DATASETS.build(f"hf:{name}").load()


def test_a_hub_out_of_reach_is_one_line_that_says_so_at_once(out_of_reach, capfd):
    with pytest.raises(
        DataError,
        match=r"hf:nobody/nothing: there is no folder of that name .* cannot be reached \(ConnectError",
    ) as refusal:
        DATASETS.build("hf:nobody/nothing").load()
    assert "\n" not in str(refusal.value)
    assert capfd.readouterr() == ("", "")  # no retries are told


def test_what_is_cached_is_read_where_the_hub_is_out_of_reach(out_of_reach, tmp_path, monkeypatch):
    """A cache as the library lays it out: USER___NAME/CONFIG/VERSION/HASH."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "d").mkdir()
    rows = pd.DataFrame({"x": [1.5, *[3.0] * 19], "label": [0, 1] * 10})
    rows.to_parquet(tmp_path / "d/train.parquet")
    datasets.load_dataset(str(tmp_path / "d"))
    (made,) = (path.parent for path in Path(tmp_path / "cache").rglob("dataset_info.json"))
    kept = shutil.copytree(made, tmp_path / "cache/nobody___kept/default/0.0.0" / ("a" * 40))
    (kept / "d-train.arrow").rename(kept / "kept-train.arrow")
    info = json.loads((kept / "dataset_info.json").read_text())
    (kept / "dataset_info.json").write_text(json.dumps(info | {"dataset_name": "kept"}))

    found = DATASETS.build("hf:nobody/kept").load()
    assert sorted(np.unique(found.x).tolist()) == [1.5, 3.0]
    assert datasets.config.HF_HUB_OFFLINE is False
