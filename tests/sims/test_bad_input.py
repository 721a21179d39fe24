"""Bad input gives one clear line and exit code 2, and nothing half-written."""

import json
import subprocess
import sys

import pandas as pd
import pytest

from gauntlet.clients.data import files
from gauntlet.sims.run import simulate

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
    "unknown choice": (
        ["-s", "runtime.transport=sokcet"],
        "'runtime.transport' is 'sokcet': input should be 'auto', 'socket' or 'ray'; did you mean 'socket'?",
    ),
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
    "a step size that is no number": (
        ["-s", "training.lr=nan"],
        "option 'lr' is nan: numbers must be finite",
    ),
    "an endless option of a plug-in": (
        ["-s", 'server_optimizer={name="sgd", lr=inf}'],
        "sgd: option 'lr' is inf: numbers must be finite",
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
    "an attack where the list is empty": (
        ["-s", "attacks=[]", "-s", "attacks.0.count=1"],
        "'attacks.0' is not there; the list is empty",
    ),
    "an attack where there is no list": (
        ["-s", "attacks.0.name=sign_flip"],
        "'attacks.0' is not there; the list is empty",
    ),
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


@pytest.mark.parametrize(
    "command", [["run"], pytest.param(["sweep", "--over", "seed=[1,2]"], marks=pytest.mark.slow)]
)
def test_a_cluster_that_is_not_there_leaves_no_folder(command, tiny_file, tmp_path):
    """In a process of its own: one that has joined a cluster stays there."""
    options = [*command[1:], "--pool", "ray", "--ray-address", "nowhere", "--out", "mine"]
    result = subprocess.run(
        [sys.executable, "-m", "gauntlet.sims.cli", command[0], str(tiny_file), *options],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert "Ray cannot be reached at nowhere" in one_line(result)
    assert not (tmp_path / "mine").exists()


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
    assert line == "gauntlet: mine already holds other files; choose another --out"


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
