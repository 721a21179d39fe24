"""What is written is there whole or as it was before; a folder has one owner."""

import errno
import os
import subprocess
import sys

import pytest
from power_cut import Recorder

from gauntlet.core.disk import append, make_folder, write_folder, write_whole
from gauntlet.core.errors import ResultsError
from gauntlet.core.locks import FolderLock


@pytest.fixture
def full(monkeypatch):
    """A disk that takes three more bytes."""
    real, left = os.pwrite, [3]

    def pwrite(file, content, at):
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(file, content[: left[0]], at)
        left[0] -= written
        return written

    monkeypatch.setattr(os, "pwrite", pwrite)


def test_parts_are_written_one_after_the_other(tmp_path):
    write_whole(tmp_path / "x.json", b"ab", memoryview(b"cd"))
    append(tmp_path / "log", 0, b"ab", b"cd")
    append(tmp_path / "log", 3, b"xyz")

    assert (tmp_path / "x.json").read_bytes() == b"abcd"
    assert (tmp_path / "log").read_bytes() == b"abcxyz"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log", "x.json"]


def test_a_full_disk_leaves_a_file_as_it_was(tmp_path, full):
    (tmp_path / "x.json").write_bytes(b"before")
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "x.json", b"after all")
    assert (tmp_path / "x.json").read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_full_disk_leaves_what_was_appended_before(tmp_path, full):
    (tmp_path / "log").write_bytes(b"before")
    with pytest.raises(OSError, match="No space left"):
        append(tmp_path / "log", 6, b"after all")
    assert (tmp_path / "log").read_bytes() == b"before"


def test_a_full_disk_leaves_no_part_of_a_folder(tmp_path, full):
    with pytest.raises(OSError, match="No space left"):
        write_folder(tmp_path / "f", {"a": b"ab", "b": b"cd"})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_there_whole_or_not_at_all_whenever_the_power_goes(tmp_path):
    recorder = Recorder(tmp_path)
    with recorder.recording():
        write_folder(tmp_path / "in" / "f", {"a": b"ab", "b": b"cd"})

    found = [{name for name in image if "part" not in name} for _, image in recorder.images(lucky=8)]
    whole = {"in", "in/f", "in/f/a", "in/f/b"}
    assert all(names in (set(), {"in"}, whole) for names in found)
    *_, (_, last) = recorder.images([len(recorder.steps)])
    assert last == {"in": None, "in/f": None, "in/f/a": b"ab", "in/f/b": b"cd"}


def test_nothing_is_appended_to_a_file_that_lost_its_end(tmp_path):
    (tmp_path / "log").write_bytes(b"be")
    with pytest.raises(OSError, match="holds 2 of 6 bytes"):
        append(tmp_path / "log", 6, b"more")
    assert (tmp_path / "log").read_bytes() == b"be"


def test_a_folder_where_a_file_is_cannot_be_made(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(NotADirectoryError):
        make_folder(tmp_path / "x")
    make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_a_folder_has_one_owner_until_it_is_given_back(tmp_path):
    with FolderLock(tmp_path):
        with pytest.raises(ResultsError, match=rf"in use by another process \(process {os.getpid()}\)"):
            FolderLock(tmp_path)
        with pytest.raises(ResultsError, match="in use"):
            FolderLock(tmp_path, patience=0.2)
    FolderLock(tmp_path).release()


def test_a_dead_owner_owns_nothing(tmp_path):
    """Killed, so that it gives nothing back itself."""
    code = "import sys, time; from pathlib import Path; from gauntlet.core.locks import FolderLock\n"
    code += "lock = FolderLock(Path(sys.argv[1])); print('mine', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout.readline() == b"mine\n"
        with pytest.raises(ResultsError, match=rf"process {owner.pid}"):
            FolderLock(tmp_path)
        owner.kill()
        FolderLock(tmp_path, patience=10).release()


def test_a_folder_that_was_deleted_meanwhile_has_no_owner(tmp_path, monkeypatch):
    """The lock file goes between opening and locking it, as when its owner clears the folder."""
    import fcntl

    real = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lambda *a: ((tmp_path / ".lock").unlink(), real(*a)))
    with pytest.raises(ResultsError, match="was deleted by another process"):
        FolderLock(tmp_path)
