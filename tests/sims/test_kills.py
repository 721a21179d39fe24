"""Runs that die while they write: whatever was half done, the resumed run is the run that never stopped."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gauntlet.core.errors import ResultsError
from gauntlet.sims.results import load_run
from gauntlet.sims.run import resume, simulate

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


def bits(folder: Path) -> dict[str, bytes]:
    """Every table but the wall-clock times, and both checkpoints."""
    tables = [p for p in folder.glob("*.parquet") if p.stem != "timings"]
    return {p.name: p.read_bytes() for p in (*tables, *(folder / "checkpoints").iterdir())}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The whole run, and one that died before each rename, write and sync, and within a file."""
    from gauntlet.sims.scenario import make_scenario

    folder = tmp_path_factory.mktemp("dying")
    (folder / "scenario.json").write_text(json.dumps(SCENARIO))
    whole = simulate(make_scenario(SCENARIO), folder / "whole").folder
    program = Path(__file__).parent / "dying_runs.py"
    subprocess.run(
        [sys.executable, str(program), "scenario.json", "dead"], cwd=folder, check=True, timeout=240
    )
    return whole, sorted((folder / "dead").iterdir())


def died(folder: Path) -> bool:
    return (folder / "manifest.json").is_file() and load_run(folder).manifest["status"] == "running"


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
def test_whatever_a_run_was_writing_when_it_was_killed_it_resumes_to_the_same_bytes(runs):
    whole, dead = runs
    expected = bits(whole)
    assert set(expected) >= {"rounds.parquet", "clients.parquet", "round-000003.safetensors"}
    for folder in filter(died, dead):
        assert load_run(resume(folder).folder).manifest["status"] == "complete", folder.name
        assert bits(folder) == expected, folder.name
        assert list(folder.rglob("*.part")) == [], folder.name


@pytest.mark.slow
def test_a_folder_whose_run_died_before_its_manifest_takes_a_new_run(runs):
    from gauntlet.sims.scenario import make_scenario

    whole, dead = runs
    blank = [folder for folder in dead if not (folder / "manifest.json").is_file()]
    assert blank
    for folder in blank:
        with pytest.raises(ResultsError, match="holds no run"):
            resume(folder)
        simulate(make_scenario(SCENARIO), folder)
        assert bits(folder) == bits(whole), folder.name


@pytest.mark.slow
def test_what_clients_remember_is_the_same_after_every_death(tmp_path):
    """Rows lie in files of their own, each written before the checkpoint that names it."""
    from gauntlet.sims.scenario import make_scenario

    scenario = {**SCENARIO, "rounds": 2, "algorithm": "scaffold", "defense": "median"}
    scenario["server_optimizer"] = "sgd"
    (tmp_path / "scenario.json").write_text(json.dumps(scenario))
    expected = bits(simulate(make_scenario(scenario), tmp_path / "whole").folder)
    program = Path(__file__).parent / "dying_runs.py"
    subprocess.run(
        [sys.executable, str(program), "scenario.json", "dead"], cwd=tmp_path, check=True, timeout=400
    )

    assert sum(name.startswith("clients-") for name in expected) >= 2
    dead = [folder for folder in sorted((tmp_path / "dead").iterdir()) if died(folder)]
    assert sum(folder.name.startswith("replace") for folder in dead) >= 2 + 2 + 7 + 1
    for folder in dead:
        assert load_run(resume(folder).folder).manifest["status"] == "complete", folder.name
        assert bits(folder) == expected, folder.name
