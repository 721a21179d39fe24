"""A result folder has one owner: processes that want it together wait for nobody, and harm nobody."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from threading import Timer

import pytest
import racing_runs
from commands import Command

from gauntlet.core.errors import ResultsError
from gauntlet.core.locks import FolderLock
from gauntlet.server.simulation import prepare
from gauntlet.sims.folders import fresh_folder
from gauntlet.sims.results import load_run
from gauntlet.sims.run import simulate
from gauntlet.sims.sweep import resume_sweep, sweep
from gauntlet.sims.writer import RunWriter


def race(what: str, place: Path, number: int, cwd: Path) -> list[str]:
    racing = Command(cwd, what, str(place), str(number), program=racing_runs.main)
    assert racing.ended(300) == (0, [])
    lines = racing.said().strip().splitlines()
    assert len(lines) == number
    return lines


@pytest.mark.slow
def test_of_twelve_processes_that_resume_a_run_one_runs_it(tiny, tmp_path):
    scenario = tiny(rounds=120)
    whole = simulate(scenario, tmp_path / "whole")
    RunWriter.create(tmp_path / "begun", scenario, prepare(scenario.run_spec()).choice)

    lines = race("resume", tmp_path / "begun", 12, tmp_path)

    assert sum(line.startswith("ran ") for line in lines) == 1
    refused = [line for line in lines if line.startswith("refused: ")]
    strange = [line for line in refused if "begun is in use by another process (process " not in line]
    assert strange == []
    assert len(refused) >= 1
    assert load_run(tmp_path / "begun").manifest["status"] == "complete"
    for name in ("rounds.parquet", "clients.parquet"):
        assert (tmp_path / "begun" / name).read_bytes() == (whole.folder / name).read_bytes()


def test_an_owner_that_has_only_just_taken_the_lock_is_waited_for_to_name_itself(tmp_path):
    with (tmp_path / ".lock").open("w+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        naming = Timer(0.2, os.pwrite, (file.fileno(), b"process 12", 0))
        naming.start()

        with pytest.raises(ResultsError, match=r"in use by another process \(process 12\)$"):
            FolderLock(tmp_path)
        naming.join()


@pytest.mark.slow
def test_runs_that_begin_at_once_never_share_a_folder(tiny, tmp_path):
    (tmp_path / "scenario.json").write_text(json.dumps(tiny().values()))

    lines = race("simulate", tmp_path / "scenario.json", 4, tmp_path)

    names = ["tiny", "tiny-2", "tiny-3", "tiny-4"]
    assert sorted(lines) == [f"ran results/{name}" for name in names]
    for name in names:
        assert load_run(tmp_path / "results" / name).manifest["status"] == "complete"


def test_a_fresh_folder_is_nobody_elses(tmp_path):
    """Of each two callers the second gets the next name, whether or not the first has written anything."""
    assert [fresh_folder(tmp_path / "r", "x").name for _ in range(3)] == ["x", "x-2", "x-3"]


@pytest.fixture
def taken(tiny, tmp_path):
    """A finished and an unfinished run, and a sweep; all in somebody else's hands."""
    simulate(tiny(), tmp_path / "done")
    scenario = tiny()
    RunWriter.create(tmp_path / "begun", scenario, prepare(scenario.run_spec()).choice)
    sweep(tiny(sweep={"seed": [1, 2]}), tmp_path / "swept")
    locks = [FolderLock(tmp_path / name) for name in ("done", "begun", "swept")]
    yield
    for lock in locks:
        lock.release()


def test_a_folder_in_use_is_refused_in_one_line_with_code_2(taken, gauntlet, tiny_file, tmp_path):
    assert "begun is in use by another process" in gauntlet("resume", "begun").refusal()
    assert "swept is in use by another process" in gauntlet("resume", "swept").refusal()
    for name in ("done", "begun", "swept"):
        before = {p: p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        line = gauntlet("run", tiny_file, "--out", name, "--overwrite").refusal()
        assert f"{name} is in use by another process" in line
        assert {p: p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()} == before
    assert gauntlet("resume", "done").returncode == 0  # nothing is left to run
    assert gauntlet("plot", "accuracy", "done").returncode == 0


def test_a_run_of_a_sweep_waits_for_the_worker_of_a_driver_that_died(tiny, tmp_path):
    """Somebody holds the second run for a second."""
    runs = sweep(tiny(sweep={"seed": [1, 2]}), tmp_path / "swept")
    whole = (runs[1].folder / "rounds.parquet").read_bytes()
    for path in runs[1].folder.iterdir():
        path.unlink() if path.is_file() else shutil.rmtree(path)
    code = "import sys, time; from pathlib import Path; from gauntlet.core.locks import FolderLock\n"
    code += "lock = FolderLock(Path(sys.argv[1])); print('mine', flush=True); time.sleep(1)"
    command = [sys.executable, "-c", code, str(runs[1].folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as worker:
        assert worker.stdout.readline() == b"mine\n"
        resume_sweep(tmp_path / "swept")

    assert (runs[1].folder / "rounds.parquet").read_bytes() == whole


def test_a_new_run_that_cannot_begin_leaves_no_folder(tiny, tmp_path, monkeypatch):
    import os

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(Exception, match="No space left on device"):
        simulate(tiny(), tmp_path / "new")
    assert not (tmp_path / "new").exists()
