"""A disk that is full at any byte: what was half written goes, status and message say why, it goes on."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gauntlet.core.errors import GauntletError
from gauntlet.sims.results import load_run, read_manifest
from gauntlet.sims.run import resume, simulate
from gauntlet.sims.verify import verify

TABLES = ("rounds", "clients", "classes", "attacks", "scores", "outputs")
SHORT = {"rounds": 3, "checkpoint": {"every": 1}, "model": {"name": "mlp", "hidden": [16]}}


def bits(folder: Path) -> dict[str, bytes]:
    files = [folder / f"{name}.parquet" for name in TABLES] + sorted((folder / "checkpoints").iterdir())
    return {path.name: path.read_bytes() for path in files}


class Disk:
    """A file system of so many bytes under a folder: what is deleted or cut off is free again."""

    def __init__(self, root: Path, capacity: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.capacity, self._real = root, capacity, os.pwrite
        monkeypatch.setattr(os, "pwrite", self._pwrite)

    def _pwrite(self, file, content, at):
        grows = at + len(content) - os.fstat(file).st_size
        free = self.capacity - sum(p.stat().st_size for p in self.root.rglob("*") if p.is_file())
        if grows > 0 and free <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._real(file, content[: len(content) - max(0, grows - free)], at)


@pytest.fixture
def whole(tiny, tmp_path):
    return simulate(tiny(**SHORT), tmp_path / "whole").folder


def fill(scenario, folder: Path, capacity: int) -> bool:
    """Run on a disk of so many bytes, look at what is left, and resume; return whether it was full."""
    with pytest.MonkeyPatch.context() as patch:
        Disk(folder, capacity, patch)
        try:
            simulate(scenario, folder)
            return False
        except GauntletError as error:
            line = str(error)
    assert "No space left on device" in line, capacity
    assert "\n" not in line
    assert list(folder.rglob("*.part")) == [], capacity
    if folder.exists():
        manifest = read_manifest(folder)
        assert manifest["status"] == "failed", capacity
        assert "No space left on device" in manifest["reason"], capacity
        assert max(found.code for found in verify(folder)) == 0, capacity
        resume(folder)
    else:
        simulate(scenario, folder)
    return True


@pytest.mark.parametrize("capacity", [1_000, 80_000])
def test_a_disk_that_is_full_names_itself_and_leaves_a_run_that_goes_on(capacity, tiny, tmp_path, whole):
    assert fill(tiny(**SHORT), tmp_path / "run", capacity)
    assert bits(tmp_path / "run") == bits(whole)


@pytest.mark.slow
def test_a_disk_of_any_size_names_itself_and_leaves_a_run_that_goes_on(tiny, tmp_path, whole):
    """From no byte to what the whole run needs, in small steps."""
    capacity, full = 0, 0
    while fill(tiny(**SHORT), folder := tmp_path / f"run-{capacity}", capacity):
        assert bits(folder) == bits(whole), capacity
        capacity, full = capacity + 1_501, full + 1
    assert full > 50


def test_a_real_disk_that_is_full_is_named_too(tiny, tmp_path, whole):
    """A file system in memory of 160 kB; the tables are on it, whole, and the rest goes on elsewhere."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=160k", "none", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        (disk / "ballast").write_bytes(bytes(48_000))
        with pytest.raises(GauntletError, match="No space left on device"):
            simulate(tiny(**SHORT), disk / "run")
        manifest = read_manifest(disk / "run")
        assert (manifest["status"], "No space left on device" in manifest["reason"]) == ("failed", True)
        assert list((disk / "run").rglob("*.part")) == []
        shutil.copytree(disk / "run", tmp_path / "elsewhere")
    finally:
        subprocess.run(["umount", str(disk)], check=True)

    assert bits(resume(tmp_path / "elsewhere").folder) == bits(whole)
    assert load_run(tmp_path / "elsewhere").manifest["status"] == "complete"
