"""``gauntlet attack`` on folders of every kind: several, others', unfinished ones, without recordings."""

import shutil
from pathlib import Path

import pytest
from attacked_folders import ONE, QUICK, TOLD, codes, files

from gauntlet.sims.results import read_manifest, write_json
from gauntlet.sims.run import resume, simulate
from gauntlet.sims.verify import WHOLE


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")  # no line of a table is broken


def test_patterns_name_runs_sweeps_and_recordings(tiny, tmp_path, gauntlet):
    from gauntlet.sims.sweep import sweep

    one = tiny(rounds=1, training=ONE, probes=[QUICK])
    sweep(tiny(rounds=1, training=ONE, probes=[QUICK], sweep={"seed": [0, 1]}), tmp_path / "all" / "swept")
    for name in ("a", "b"):
        simulate(one, tmp_path / "all" / name)
    (tmp_path / "all" / "c.txt").write_text("no result")

    told = gauntlet("attack", "all/*", "--with", "bias_trick")

    assert told.returncode == 0, told.stderr
    found = sorted((tmp_path / "all").glob("**/attacked"))
    assert [str(p.parent.relative_to(tmp_path / "all")) for p in found] == [
        "a",
        "b",
        "swept/run-000",
        "swept/run-001",
    ]
    assert (
        gauntlet("attack", "all/a/observations/*", "--with", "bias_trick").stdout.count("there already") == 1
    )


def test_a_run_without_recordings_a_damaged_one_and_one_that_nobody_accepts_are_one_line(
    tiny, tmp_path, gauntlet
):
    simulate(tiny(rounds=1), tmp_path / "blind")
    assert "no message is recorded there" in gauntlet("attack", "blind", "--with", "dlg").refusal()

    run = simulate(tiny(rounds=1, probes=[QUICK]), tmp_path / "two").folder
    assert "got batch_size = 2" in gauntlet("attack", "two", "--with", "idlg").refusal()
    (place,) = (run / "observations").iterdir()
    (place / "frame.bin").write_bytes(b"GN")
    assert "frame" in gauntlet("attack", "two", "--with", "dlg").refusal()
    (place / "observation.json").write_text("{")
    assert "is not a readable observation" in gauntlet("attack", "two", "--with", "dlg").refusal()


MODEL = """
from torch import nn
def line(num_classes=10):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


def test_a_folder_of_others_loads_no_code_unless_it_is_allowed(tiny, tmp_path, gauntlet, monkeypatch):
    (tmp_path / "net.py").write_text(MODEL)
    model = f"{tmp_path}/net.py:line"
    simulate(tiny(rounds=1, training=ONE, model=model, probes=[QUICK]), tmp_path / "run")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "somebody else"))

    told = gauntlet("attack", "run", "--with", "bias_trick")
    assert "is not signed by this user" in told.refusal()
    assert gauntlet("attack", "run", "--with", "bias_trick", "--allow-code").returncode == 0
    (tmp_path / "net.py").write_text(MODEL + "\n# another\n")
    told = gauntlet("attack", "run", "--with", "bias_trick", "--allow-code")
    assert "net.py changed since the run began; put it back" in told.refusal()


def test_nor_the_server_that_rebuilt_the_model(tiny, tmp_path, gauntlet, monkeypatch):
    ladder = Path(__file__).parents[1] / "outside" / "ladder.py"
    shutil.copy(ladder, tmp_path / "ladder.py")
    server = f"{tmp_path}/ladder.py:Ladder"
    simulate(tiny(rounds=1, training=ONE, server=server, probes=[QUICK]), tmp_path / "run")
    assert gauntlet("attack", "run", "--with", "bias_trick").returncode == 0
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "somebody else"))

    told = gauntlet("attack", "run", "--with", "idlg")
    assert "is not signed by this user" in told.refusal()
    assert gauntlet("attack", "run", "--with", "idlg", "--allow-code").returncode == 0


def test_an_unfinished_run_is_attacked_and_resumed_with_nothing_lost(tiny, tmp_path, gauntlet):
    whole = simulate(tiny(training=ONE, probes=[{**QUICK, "rounds": [0, 3]}]), tmp_path / "run").folder
    own = {n: c for n, c in files(whole).items() if n.startswith(("observations", "reconstructions"))}
    manifest = {k: v for k, v in read_manifest(whole).items() if k != "files"}
    write_json(whole / "manifest.json", {**manifest, "status": "running"})
    for path in (whole / "checkpoints").glob("*000004*"):
        path.unlink()

    assert gauntlet("attack", whole, "--with", "bias_trick").returncode == 0
    attacked = {n: c for n, c in files(whole).items() if n.startswith("attacked")}
    assert len(attacked) == 4
    resume(whole)

    after = files(whole)
    assert {n: c for n, c in after.items() if n.startswith(("observations", "reconstructions"))} == own
    assert {n: c for n, c in after.items() if n.startswith("attacked")} == attacked
    assert codes(whole) == {WHOLE}
    assert attacked.keys() <= read_manifest(whole)["files"].keys()


@pytest.mark.slow
def test_attacks_on_ray_give_the_bytes_of_one_process(tiny, tmp_path, gauntlet, ray_here):
    scenario = tiny(rounds=1, training=ONE, probes=[QUICK, TOLD])
    found = []
    for pool in ("serial", "ray"):
        folder = simulate(scenario, tmp_path / pool).folder
        words = ("--with", "bias_trick", "--with", "bias_counts", "--with", "idlg", "--pool", pool)
        assert gauntlet("attack", folder, *words).returncode == 0
        found.append(files(folder / "attacked"))

    assert found[0] == found[1]
    assert len(found[0]) == 2 * 2 + 2 + 2 * 2
