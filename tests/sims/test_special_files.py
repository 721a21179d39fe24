"""Pipes and devices in result folders: whoever reads one neither waits nor reads without end."""

import os
import shutil

import pytest

from gauntlet.core.disk import read_plain
from gauntlet.core.errors import DataError, GauntletError
from gauntlet.sims.inferred import load_inferred
from gauntlet.sims.rebuilt import load_rebuilt
from gauntlet.sims.results import load_run
from gauntlet.sims.run import simulate
from gauntlet.sims.verify import verify

TABLES = ("rounds", "clients", "scores", "classes", "attacks", "outputs", "timings")


def pipe(path):
    os.mkfifo(path)


def endless(path):
    path.symlink_to("/dev/zero")


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    return simulate(tiny(rounds=1), tmp_path_factory.mktemp("finished") / "run").folder


@pytest.mark.parametrize("special", [pipe, endless])
def test_a_table_that_is_no_file_is_said_at_once(special, finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    for name in TABLES:
        (folder / f"{name}.parquet").unlink()
        special(folder / f"{name}.parquet")
        with pytest.raises(GauntletError, match=rf"{name}.parquet cannot be read: .*no plain file"):
            getattr(load_run(folder), name)

    assert {one.words.split(";")[0] for one in verify(folder) if one.name} == {"is lost"}


@pytest.mark.parametrize("special", [pipe, endless])
def test_what_attacks_found_and_is_no_file_is_said_at_once(special, tmp_path):
    special(tmp_path / "reconstruction.json")
    with pytest.raises(DataError, match="no plain file"):
        load_rebuilt(tmp_path)
    (tmp_path / "reconstruction.json").unlink()
    (tmp_path / "reconstruction.json").write_text("{}")
    special(tmp_path / "tensors.safetensors")
    with pytest.raises(DataError, match="no plain file"):
        load_rebuilt(tmp_path)
    special(tmp_path / "x.json")
    with pytest.raises(DataError, match="no plain file"):
        load_inferred(tmp_path / "x.json")


def test_a_link_to_a_file_is_read_and_no_further_than_allowed(tmp_path):
    (tmp_path / "far").write_bytes(b"12345")
    (tmp_path / "near").symlink_to(tmp_path / "far")

    assert read_plain(tmp_path / "near") == b"12345"
    assert read_plain(tmp_path / "near", 5) == b"12345"
    with pytest.raises(OSError, match="it holds more than 4 bytes"):
        read_plain(tmp_path / "near", 4)
