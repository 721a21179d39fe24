"""Bad input gives one clear line and exit code 2, and nothing half-written."""

import json
import subprocess
import sys

import pandas as pd
import pytest

from gauntlet.clients.data import files

RAISES = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Bad:
    def init(self): return None
    def aggregate(self, updates, state): raise RuntimeError("no idea")
"""

REFUSED = {
    "unknown scenario": (["run", "quickstat"], "unknown scenario 'quickstat'; did you mean 'quickstart'?"),
    "unknown dataset": (["-s", "data.name=digist"], "unknown dataset 'digist'; did you mean 'digits'?"),
    "missing data file": (["-s", "data.name=mnist"], "mnist"),
    "unknown key": (["-s", "ronds=3"], "unknown key 'ronds'; did you mean 'rounds'?"),
    "unknown nested key": (["-s", "runtime.wokers=3"], "unknown key 'runtime.wokers'"),
    "unknown option": (["-s", "model.hiden=3"], "unknown option 'hiden'; did you mean 'hidden'?"),
    "wrong type of a key": (["-s", "rounds=many"], "'rounds' is 'many': input should be a valid integer"),
    "wrong type of an option": (["-s", "model.hidden=[1.5]"], "option 'hidden.0' is 1.5"),
    "training out of range": (["-s", "training.lr=-1"], "lr must be above 0, got -1"),
    "cohort above the population": (
        ["-s", "sampler.name=fixed_size", "-s", "sampler.cohort_size=7"],
        "cohort_size 7 is larger than the population of 6 clients",
    ),
    "negative epsilon": (
        [
            "-s",
            "privacy.name=gaussian",
            "-s",
            "privacy.clip_norm=1",
            "-s",
            "privacy.epsilon=-1",
            "-s",
            "privacy.delta=1e-5",
        ],
        "epsilon must be",
    ),
    "model and data do not fit": (["-s", "model.name=mcnn"], "model 'mcnn'"),
    "more clients than examples": (["-s", "num_clients=5000"], "5000"),
    "a probe for a client that is not there": (
        ["-s", 'probes=[{name="dlg", client=6}]'],
        "client 6 does not exist; allowed: 0 to 5",
    ),
    "an unknown leakage attack": (["-s", 'probes=[{name="dgl"}]'], "did you mean 'dlg'?"),
    "an attack without clients": (
        ["-s", 'attacks=[{name="sign_flip"}]'],
        "exactly one of clients, count, share and sampled",
    ),
    "an attack with two ways to choose clients": (
        ["-s", 'attacks=[{name="sign_flip", share=0.5, sampled=0.5}]'],
        "exactly one of clients, count, share and sampled",
    ),
    "an attack that stops before it starts": (
        ["-s", 'attacks=[{name="sign_flip", count=1, start_round=3, stop_round=3}]'],
        "stop_round must be above start_round, 3",
    ),
    "a share that is nobody": (
        ["-s", 'attacks=[{name="sign_flip", share=0.1}]'],
        "a share of 0.1 of 6 clients is nobody; allowed: 0, or at least 0.167",
    ),
    "a share of a cohort that is nobody": (
        ["-s", 'attacks=[{name="sign_flip", sampled=0.1}]'],
        "0.1 of a cohort of 6 is nobody; allowed: at least 0.167",
    ),
    "an attack on a label that the data do not have": (
        ["-s", 'attacks=[{name="multi_label_flip", sources=[1, 11], count=1}]'],
        "changes label 11; digits has labels 0 to 9",
    ),
    "half a burst": (
        ["-s", 'attacks=[{name="sign_flip", count=1, on_rounds=2}]'],
        "on_rounds and off_rounds go together",
    ),
    "two rhythms": (
        ["-s", 'attacks=[{name="sign_flip", count=1, on_rounds=2, off_rounds=1, every=2}]'],
        "every does not go with on_rounds and off_rounds",
    ),
    "more than the whole cohort drawn anew": (
        ["-s", 'attacks=[{name="sign_flip", sampled=0.7}, {name="zero", sampled=0.7}]'],
        "sampled shares of a cohort sum to 1.4",
    ),
    "an attack on updates after one on updates": (
        ["-s", 'attacks=[{name="sign_flip", count=1, update="zero"}]'],
        "update needs an attack on data that it follows",
    ),
    "a key that has no parts": (["-s", "rounds.x=1"], "'rounds' is a value (4) and has no parts"),
    "an override without a value": (["-s", "rounds"], "--set needs key=value, got 'rounds'"),
    "a plug-in file that is not there": (["-s", "defense.name=gone.py:Gone"], "no such plug-in file"),
}


def one_line(result) -> str:
    """Check that a command failed as it should, and return its line."""
    assert result.returncode == 2, (result.stdout, result.stderr)
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.fixture
def no_data(monkeypatch, tmp_path):
    """A machine on which no data set lies anywhere, and no hub can be reached."""
    monkeypatch.setenv("GAUNTLET_OFFLINE", "1")
    monkeypatch.setattr(files, "data_roots", lambda: [tmp_path / "my-data"])


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize("case", REFUSED)
def test_a_scenario_that_cannot_run_leaves_nothing_behind(case, gauntlet, tiny_file):
    arguments, words = REFUSED[case]
    call = arguments if arguments[0] == "run" else ["run", tiny_file, *arguments]

    line = one_line(gauntlet(*call))

    assert words in line
    assert not (tiny_file.parent / "results").exists()


@pytest.mark.usefixtures("no_data")
def test_a_missing_data_file_says_which_and_where_it_was_looked_for(gauntlet, tiny_file):
    line = one_line(gauntlet("run", tiny_file, "-s", "data.name=mnist"))

    assert "train-images-idx3-ubyte.gz" in line
    assert "my-data" in line


def test_a_scenario_that_is_no_toml_is_named(gauntlet, tmp_path):
    (tmp_path / "x.toml").write_text("rounds = = 3")

    assert "x.toml is not TOML" in one_line(gauntlet("run", "x.toml"))
    assert "cannot be read" in one_line(gauntlet("run", "gone.toml"))


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


def test_an_unreadable_checkpoint_is_named(gauntlet, tiny_file):
    out = tiny_file.parent / "mine"
    assert gauntlet("run", tiny_file, "--out", out).returncode == 0
    manifest = out / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"complete"', '"running"'))
    newest = sorted((out / "checkpoints").iterdir())[-1]
    newest.write_bytes(b"not a checkpoint")

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


@pytest.mark.parametrize("pool", ["serial", "ray"])
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


@pytest.mark.parametrize("largest", [300, 3000, 9000])
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


def test_a_misspelt_command_is_refused(gauntlet):
    result = gauntlet("rum", "quickstart")

    assert result.returncode == 2
    assert "No such command 'rum'" in result.stderr


def test_help_needs_no_heavy_import():
    """Torch, Ray, pandas, matplotlib and pydantic stay outside until a command needs them."""
    heavy = ("torch", "ray", "pandas", "matplotlib", "pydantic", "numpy")
    code = f"import sys, gauntlet.sims.cli; print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"
