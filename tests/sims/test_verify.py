"""What ``gauntlet verify`` says of runs, sweeps and matrices, and its exit codes."""

import shutil

import pytest

from gauntlet.server.simulation import prepare
from gauntlet.sims.run import simulate
from gauntlet.sims.sweep import begin_sweep, sweep, variants
from gauntlet.sims.writer import RunWriter


@pytest.fixture
def run(tiny, tmp_path):
    return simulate(tiny(), tmp_path / "run").folder


def test_a_finished_run_is_whole_with_every_file_and_pictures_may_come_and_go(run, gauntlet):
    gauntlet("plot", "accuracy", "run")
    found = gauntlet("verify", "run")

    assert found.returncode == 0
    assert found.stdout.splitlines() == ["run: complete, and all of its 9 files are whole", "run is whole"]
    shutil.rmtree(run / "plots")
    assert gauntlet("verify", "run").returncode == 0


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("rounds.parquet", 2, "only running it again brings it back"),
        ("scores.parquet", 2, "only running it again brings it back"),
        ("timings.parquet", 1, "no result hangs on it"),
        ("checkpoints/round-000002.safetensors", 1, "no result hangs on it"),
    ],
)
def test_what_is_lost_or_damaged_is_named_with_what_hangs_on_it(name, code, words, run, gauntlet):
    (run / name).write_bytes(b"torn")
    found = gauntlet("verify", "run")
    assert found.returncode == code
    assert f"run/{name}: " in found.stdout
    assert words in found.stdout

    (run / name).unlink()
    found = gauntlet("verify", "run")
    assert found.returncode == code
    assert f"run/{name}: is lost; {words}" in found.stdout


def test_a_run_that_has_not_come_to_a_checkpoint_is_whole(tiny, gauntlet, tmp_path):
    RunWriter.create(tmp_path / "begun", tiny(), prepare(tiny().run_spec()).choice)
    (tmp_path / "begun" / "manifest.part").write_bytes(b"{")
    found = gauntlet("verify", "begun")

    assert found.returncode == 0
    assert "running, without a checkpoint; resume begins with round 0" in found.stdout
    assert "manifest.part: is half written; nothing hangs on it" in found.stdout


def test_a_sweep_is_as_whole_as_its_runs(tiny, gauntlet, tmp_path):
    swept = tiny(rounds=1, sweep={"seed": [1, 2]})
    (tmp_path / "listed").mkdir()
    begin_sweep(variants(swept), tmp_path / "listed", swept)
    assert gauntlet("verify", "listed").stdout.splitlines() == [
        "listed/run-000: has not begun",
        "listed/run-001: has not begun",
        "listed is whole",
    ]
    sweep(swept, tmp_path / "swept")
    (tmp_path / "swept" / "run-001" / "clients.parquet").unlink()
    found = gauntlet("verify", "swept")
    assert found.returncode == 2
    assert "swept/run-000: complete" in found.stdout
    assert "swept/run-001/clients.parquet: is lost" in found.stdout
    (tmp_path / "swept" / "run-000" / "manifest.json").write_bytes(b"{")
    assert "swept/run-000: " in gauntlet("verify", "swept").stdout


def test_what_holds_no_run_is_refused(gauntlet, tmp_path):
    assert "holds no run" in gauntlet("verify", tmp_path).refusal()
    assert "holds no run" in gauntlet("verify", "nowhere").refusal()
