"""Runs that die while they write: whatever was half done, the resumed run is the run that never stopped."""

import os
import signal
from pathlib import Path

import pytest
from dying_runs import deaths, die_at, die_within
from forked import finish, start

from gauntlet.core.errors import ResultsError
from gauntlet.sims.results import load_run
from gauntlet.sims.run import resume, simulate
from gauntlet.sims.scenario import make_scenario

SCENARIO = {
    "name": "dying",
    "rounds": 3,
    "num_clients": 6,
    "data": "digits",
    "model": {"name": "mlp", "hidden": [64]},
    "training": {"local_steps": 1, "batch_size": 2, "lr": 0.5},
    "codec": "terngrad",
    "defense": {"name": "trimmed_mean", "num_byzantine": 1},
    "attacks": [{"name": "sign_flip", "count": 1}],
    "server_optimizer": {"name": "adam", "lr": 0.01},
    "network": {"name": "links", "dropout": 0.1},
    "runtime": {"pool": "serial"},
    "checkpoint": {"every": 1},
}


REMEMBERED = {
    **SCENARIO,
    "rounds": 2,
    "algorithm": "scaffold",
    "defense": "median",
    "server_optimizer": "sgd",
}


def bits(folder: Path) -> dict[str, bytes]:
    """Every table but the wall-clock times, and both checkpoints."""
    tables = [p for p in folder.glob("*.parquet") if p.stem != "timings"]
    return {p.name: p.read_bytes() for p in (*tables, *(folder / "checkpoints").iterdir())}


def content(folder: Path) -> dict[str, bytes | None]:
    """Return what every file below a folder holds, and None for every folder, by their paths."""
    inside = sorted(folder.rglob("*"))
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in inside}


def runs_of(scenario, folder: Path) -> tuple[Path, list[Path]]:
    """Return the whole run, and what dead ones left: at each rename, write and sync, and within a file."""
    dead = folder / "dead"
    dead.mkdir()
    assert finish(start(deaths, scenario, dead)) == 0
    whole = (dead / "run").rename(folder / "whole")
    for size in (14_000, 25_000):
        assert finish(start(die_within, size, scenario, dead / f"limit-{size}")) == -signal.SIGXFSZ
    return whole, sorted(dead.iterdir())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return runs_of(SCENARIO, tmp_path_factory.mktemp("dying"))


@pytest.fixture
def plainly(monkeypatch):
    """Resume without syncs, which a process that is killed does not need, and without the page.

    Every tenth run is resumed as users resume it.
    """

    def call(number: int, folder: Path) -> Path:
        with monkeypatch.context() as patch:
            if number % 10:
                patch.setattr(os, "fsync", lambda file: None)
                patch.setattr("gauntlet.sims.execution.keep_report", lambda *_: None)
            return resume(folder).folder

    return call


def died(folder: Path) -> bool:
    return (folder / "manifest.json").is_file() and load_run(folder).manifest["status"] == "running"


def all_resume_to(whole: Path, dead: list[Path], resumed) -> None:
    """Resume every death once: at several calls between two writes a folder holds the same bytes."""
    expected = bits(whole)
    different = {tuple(content(folder).items()): folder for folder in dead if died(folder)}
    assert len(different) > 80
    for number, folder in enumerate(different.values()):
        assert load_run(resumed(number, folder)).manifest["status"] == "complete", folder.name
        assert bits(folder) == expected, folder.name
        assert list(folder.rglob("*.part")) == [], folder.name


@pytest.mark.slow
def test_there_is_a_death_at_every_step_of_every_round(runs):
    """Renamed are the manifest, 3 checkpoints, at the end 9 tables and the manifest once more."""
    _, dead = runs
    names = [folder.name for folder in dead if died(folder)]

    assert sum(name.startswith("replace") for name in names) == 3 + 9 + 1
    assert sum(name.startswith("fsync") for name in names) >= 3 * 4
    assert sum(name.startswith("pwrite") for name in names) >= 3 * 4
    parts = {folder.name: [p.name for p in folder.rglob("*.part")] for folder in dead}
    assert parts["limit-25000"] == ["round-000002.part"]
    cut = next(folder for folder in dead if folder.name == "limit-14000")
    assert (cut / "tables.journal").stat().st_size == 14_000


@pytest.mark.slow
@pytest.mark.parametrize("call", ["replace-002", "replace-009", "fsync-012", "pwrite-001", "pwrite-060"])
def test_who_is_killed_at_a_call_leaves_what_was_kept_of_it(call, runs, tmp_path):
    """To the byte, but for wall-clock times and the process that owned the folder."""
    name, number = call.split("-")
    kept = next(folder for folder in runs[1] if folder.name == call)

    assert finish(start(die_at, name, int(number), SCENARIO, tmp_path / "dead")) == -signal.SIGKILL

    left, kept = content(tmp_path / "dead"), content(kept)
    assert left.keys() == kept.keys()
    passing = {".lock", "timings.journal", "timings.parquet"}
    assert [name for name in left if left[name] != kept[name] and name not in passing] == []


@pytest.mark.slow
def test_whatever_a_run_was_writing_when_it_was_killed_it_resumes_to_the_same_bytes(runs, plainly):
    whole, dead = runs
    assert set(bits(whole)) >= {"rounds.parquet", "clients.parquet", "round-000003.safetensors"}
    all_resume_to(whole, dead, plainly)


@pytest.mark.slow
def test_a_folder_whose_run_died_before_its_manifest_takes_a_new_run(runs):
    whole, dead = runs
    blank = [folder for folder in dead if not (folder / "manifest.json").is_file()]
    assert blank
    for folder in blank:
        with pytest.raises(ResultsError, match="holds no run"):
            resume(folder)
        simulate(make_scenario(SCENARIO), folder)
        assert bits(folder) == bits(whole), folder.name


@pytest.mark.slow
def test_what_clients_remember_is_the_same_after_every_death(plainly, tmp_path):
    """Rows lie in files of their own, each written before the checkpoint that names it."""
    whole, dead = runs_of(REMEMBERED, tmp_path)

    assert sum(name.startswith("clients-") for name in bits(whole)) >= 2
    assert sum(folder.name.startswith("replace") for folder in dead if died(folder)) >= 2 + 2 + 7 + 1
    all_resume_to(whole, dead, plainly)
