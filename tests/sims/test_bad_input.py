"""Bad input gives one clear line and exit code 2, and nothing half-written."""

import subprocess
import sys

import pytest
from commands import Command
from refused_command import one_line

from gauntlet.clients.data import files

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
    "a list where a plug-in is meant": (
        ["-s", 'track=["tensorboard"]'],
        "'track' is ['tensorboard']: it must be a plug-in's name, or a table with its name and options",
    ),
    "a number where a table is meant": (["-s", "training=5"], "'training' is 5: it must be a table"),
    "wrong type of an option": (["-s", "model.hidden=[1.5]"], "option 'hidden.0' is 1.5"),
    "patience without end": (
        ["-s", "runtime.patience_seconds=inf"],
        "'runtime.patience_seconds' is inf: input should be a finite number",
    ),
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


@pytest.mark.parametrize(
    "command", [["run"], pytest.param(["sweep", "--over", "seed=[1,2]"], marks=pytest.mark.slow)]
)
def test_a_cluster_that_is_not_there_leaves_no_folder(command, tiny_file, tmp_path):
    """In a process of its own: one that has joined a cluster stays there."""
    options = [*command[1:], "--pool", "ray", "--ray-address", "nowhere", "--out", "mine"]
    code, lines = Command(tmp_path, command[0], str(tiny_file), *options).ended(240)

    assert code == 2
    (line,) = lines
    assert "Ray cannot be reached at nowhere" in line
    assert not (tmp_path / "mine").exists()


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
