"""Folders that hold something else, something broken or no room: one clear line, and nothing lost."""

import json
import subprocess
import sys

import pandas as pd
import pytest
from refused_command import one_line

from gauntlet.sims.run import simulate

RAISES = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Bad:
    def init(self): return None
    def aggregate(self, updates, state): raise RuntimeError("no idea")
"""


def test_a_folder_that_holds_another_run_is_not_touched(gauntlet, tiny_file):
    out = tiny_file.parent / "mine"
    assert gauntlet("run", tiny_file, "--out", out).returncode == 0
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}

    line = one_line(gauntlet("run", tiny_file, "-s", "seed=1", "--out", out))

    assert "already holds the complete run 'tiny' (seed 0)" in line
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_overwrite_deletes_results_and_nothing_else(gauntlet, tiny_file):
    precious = tiny_file.parent / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years")

    line = one_line(gauntlet("run", tiny_file, "--out", precious, "--overwrite"))

    assert "holds no run; --overwrite deletes only results" in line
    assert (precious / "thesis.txt").read_text() == "years"


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        ("run", ["-s", "defense.name=krumm"], "did you mean 'krum'"),
        ("run", ["-s", "defense.name=krumm", "-s", "sweep.seed=[1, 2]"], "did you mean 'krum'"),
        ("run", ["-s", 'probes=[{name="dlg", client=77}]'], "client 77 does not exist"),
        ("matrix", ["--attacks", "zero", "--defenses", "krumm", "--shares", "0.4"], "did you mean 'krum'"),
    ],
    ids=["one run", "a sweep", "a probe", "a matrix"],
)
def test_what_cannot_run_overwrites_nothing(command, options, words, gauntlet, tiny, tiny_file, tmp_path):
    simulate(tiny(), tmp_path / "mine")
    before = {p: p.read_bytes() for p in (tmp_path / "mine").rglob("*") if p.is_file()}

    assert words in one_line(gauntlet(command, tiny_file, "--out", "mine", "--overwrite", *options))

    assert {p: p.read_bytes() for p in (tmp_path / "mine").rglob("*") if p.is_file()} == before


def test_overwrite_takes_an_empty_folder(gauntlet, tiny_file, tmp_path):
    (tmp_path / "empty").mkdir()

    assert gauntlet("run", tiny_file, "--out", "empty", "--overwrite").returncode == 0
    assert (tmp_path / "empty" / "rounds.parquet").is_file()


WHOLE = {
    "schema": 1,
    "scenario": {"name": "x"},
    "fingerprint": "",
    "label": "",
    "seed": 0,
    "status": "running",
}
BROKEN = {
    "a list": ([], "it holds [], expected a table of keys"),
    "nothing but the schema": ({"schema": 1}, "key 'scenario' is missing"),
    "no schema": ({**WHOLE, "schema": "1"}, "'schema' is '1', expected int"),
    "another schema": ({**WHOLE, "schema": 3}, "is of schema 3, expected 1 to 2"),
    "no scenario's name": ({**WHOLE, "scenario": {}}, "key 'scenario.name' is missing"),
    "a scenario that is none": ({**WHOLE, "scenario": []}, "'scenario' is [], expected dict"),
    **{
        f"no {key}": ({k: v for k, v in WHOLE.items() if k != key}, f"key '{key}' is missing")
        for key in ("fingerprint", "label", "seed", "status")
    },
    "a complete run without its cost": ({**WHOLE, "status": "complete"}, "key 'epsilon' is missing"),
    "half a cost": ({**WHOLE, "status": "complete", "epsilon": {"value": 1}}, "key 'epsilon.reason'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_manifest_that_lacks_something_is_refused_and_not_to_be_resumed(
    case, gauntlet, tiny_file, tmp_path
):
    content, words = BROKEN[case]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "manifest.json").write_text(json.dumps(content))

    for call in (["plot", "accuracy", "mine"], ["plot", "all", "mine"], ["resume", "mine"]):
        line = one_line(gauntlet(*call))
        assert line.startswith("gauntlet: mine/manifest.json ")
        assert words in line
    line = one_line(gauntlet("run", tiny_file, "--out", "mine"))
    assert line == "gauntlet: mine already holds other files; choose another folder with out"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "it holds [], expected a table of keys"),
        ({}, "key 'runs' is missing"),
        ({"runs": []}, "it lists no run"),
        ({"runs": ["run-000"]}, "'runs.0' is 'run-000', expected a table"),
        ({"runs": [{"label": "x", "folder": "run-000"}]}, "key 'runs.0.scenario' is missing"),
    ],
)
def test_a_sweep_whose_list_lacks_something_is_refused(content, words, gauntlet, tmp_path):
    (tmp_path / "sweep.json").write_text(json.dumps(content))

    for call in (["plot", "accuracy", tmp_path], ["resume", tmp_path]):
        assert f"sweep.json cannot be read: {words}" in one_line(gauntlet(*call))


def test_an_unreadable_checkpoint_is_named(gauntlet, tiny_file):
    out = tiny_file.parent / "mine"
    assert gauntlet("run", tiny_file, "--out", out).returncode == 0
    manifest = out / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"complete"', '"running"'))
    first, newest = sorted((out / "checkpoints").iterdir())
    newest.write_bytes(b"not a checkpoint")

    told = gauntlet("resume", out)  # from the one before
    assert told.returncode == 0
    assert f"{newest.name} cannot be read" in told.stdout
    assert f"going on from {first.stem}" in told.stdout

    manifest.write_text(manifest.read_text().replace('"complete"', '"running"'))
    for path in (out / "checkpoints").iterdir():
        path.write_bytes(b"not a checkpoint")
    assert f"{newest.name} cannot be read" in one_line(gauntlet("resume", out))


def test_a_folder_without_a_run_cannot_be_resumed_or_drawn(gauntlet, tmp_path):
    assert "holds no run" in one_line(gauntlet("resume", tmp_path))
    assert "holds no run" in one_line(gauntlet("plot", "accuracy", tmp_path))


def test_a_manifest_that_somebody_edited_is_refused(gauntlet, tiny_file):
    out = tiny_file.parent / "mine"
    assert gauntlet("run", tiny_file, "--out", out).returncode == 0
    text = (
        (out / "manifest.json")
        .read_text()
        .replace('"complete"', '"running"')
        .replace('"rounds": 4', '"rounds": 6')
    )
    (out / "manifest.json").write_text(text)

    assert "does not fit its fingerprint" in one_line(gauntlet("resume", out))


@pytest.mark.parametrize("pool", ["serial", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_plug_in_that_raises_is_named_and_the_rounds_before_are_kept(gauntlet, tiny_file, pool, request):
    if pool == "ray":
        request.getfixturevalue("ray_here")
    file = tiny_file.parent / "bad.py"
    file.write_text(RAISES)
    out = tiny_file.parent / "mine"

    line = one_line(
        gauntlet("run", tiny_file, "-s", f"defense.name={file}:Bad", "--out", out, "--pool", pool)
    )

    assert "bad.py:Bad' raised RuntimeError: no idea" in line
    assert '"status": "failed"' in (out / "manifest.json").read_text()


@pytest.mark.parametrize(
    "largest", [pytest.param(300, marks=pytest.mark.slow), 3000, pytest.param(9000, marks=pytest.mark.slow)]
)
def test_a_full_disk_gives_one_line_and_leaves_whole_files(tiny_file, largest):
    """No file may grow above so many bytes: the manifest, a checkpoint or a picture fails first."""
    out = tiny_file.parent / "mine"
    code = (
        "import resource, sys, torch, pandas, matplotlib.font_manager, gauntlet.sims.run\n"
        "from gauntlet.sims.cli import main\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({largest}, {largest}))\n"
        f"sys.argv = ['gauntlet', 'run', {str(tiny_file)!r}, '--out', {str(out)!r}]\nmain()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "cannot be written" in one_line(result)
    for table in out.glob("*.parquet"):
        pd.read_parquet(table)
    for text in out.glob("*.json"):
        json.loads(text.read_text())
