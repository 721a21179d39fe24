"""The command line itself: its help, its refusals of a misspelt call, and options that would do nothing."""

import json
import os
import shlex
import subprocess
import sys
from importlib.metadata import version

import pandas as pd
import pytest

from gauntlet.sims.plots import PLOTS, SETS, taking
from gauntlet.sims.run import simulate

BAD = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Bad:
    def init(self): return None
    def aggregate(self, updates, state): raise {}
"""

MISSPELT = {
    "an option": ("run tiny.toml --round 3", "No such option '--round'"),
    "a command": ("rum tiny.toml", "No such command 'rum'. Did you mean 'run'"),
    "a number": ("run tiny.toml --workers 0", "Invalid value for '--workers': 0 is not in the range"),
    "a choice": ("run tiny.toml --pool threads", "'threads' is not one of 'ray', 'serial'"),
    "no scenario": ("run", "Missing argument 'SCENARIO'"),
    "no folder": ("plot loss", "Missing argument 'RESULTS...'"),
}


@pytest.mark.parametrize("case", MISSPELT)
def test_a_misspelt_call_is_refused_in_one_line(case, gauntlet, tiny_file):
    call, words = MISSPELT[case]
    line = gauntlet(*call.split()).refusal()

    assert words in line
    assert line.count("Did you mean") <= 1


def test_help_is_no_error_and_no_command_at_all_prints_it_too(gauntlet):
    asked, bare = gauntlet("--help"), gauntlet()

    assert (asked.returncode, bare.returncode) == (0, 2)
    assert "check-plugin" in asked.stdout
    assert "check-plugin" in bare.stderr


def test_the_version_is_that_of_the_installed_distribution(gauntlet):
    result = gauntlet("--version")

    assert (result.returncode, result.stdout) == (0, f"gauntlet {version('gauntlet-fl')}\n")


@pytest.mark.parametrize(("call", "code"), [(["--version"], 0), (["rum"], 2)])
def test_python_m_gauntlet_is_the_command_line(call, code, gauntlet, tmp_path):
    command = [sys.executable, "-m", "gauntlet", *call]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    same = gauntlet(*call)
    assert (result.returncode, result.stdout, result.stderr) == (code, same.stdout, same.stderr)
    assert same.returncode == code


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (
            "new",
            "attack, data-attack, leakage-attack, defense, client-defense, codec, schedule, server, task, "
            "or dataset.",
        ),
        ("new", "The plug-in's name, such as my_attack."),
        ("run", "A shipped scenario's name"),
        ("plot", "Result folders of runs or sweeps."),
        ("data", "A scenario's name or file, or a data set's name."),
        ("show", "A scenario, a .toml file, or a plug-in."),
        ("check-plugin", "path/to/file.py:Class."),
    ],
)
def test_help_says_what_each_argument_is(command, text, gauntlet):
    said = " ".join(gauntlet(command, "--help").stdout.split())

    assert text in said
    assert "[required]" in said
    assert "\\" not in said


def test_an_interrupted_run_says_how_to_go_on(gauntlet, tiny_file, tmp_path):
    """Exit code 130: what shells take for an interrupt, 128 + SIGINT."""
    (tmp_path / "bad.py").write_text(BAD.format("KeyboardInterrupt"))

    result = gauntlet("run", tiny_file, "-s", "defense.name=bad.py:Bad", "--out", "mine", "--quiet")

    assert (result.returncode, result.stdout) == (130, "")
    assert "'gauntlet resume mine' goes on" in result.stderr


LOST = {
    "the swept key itself": ("seed=3", "'seed'"),
    "an option of a swept plug-in": ("defense.num_byzantine=1", "'defense'"),
    "a plug-in in place of a swept name": ("codec=terngrad", "'codec.name'"),
    "a table with a swept value": ("training={lr=0.1}", "'training.lr'"),
    "a list with a swept value": ('attacks=[{name="sign_flip", count=2}]', "'attacks.0.count'"),
    "an option that none of the swept plug-ins has": ("codec.bits=3", "'codec.name'"),
}
SWEEP = (
    '{seed=[0, 1], defense=["mean", "median"], "codec.name"=["identity", "terngrad"], '
    '"training.lr"=[0.1, 0.2], "attacks.0.count"=[1, 2]}'
)


@pytest.mark.parametrize("case", LOST)
def test_a_value_that_the_sweep_would_replace_is_refused_whatever_the_order(case, gauntlet, tiny_file):
    option, key = LOST[case]
    for order in (["-s", f"sweep={SWEEP}", "-s", option], ["-s", option, "-s", f"sweep={SWEEP}"]):
        line = gauntlet("run", tiny_file, *order).refusal()

        assert f"--set {option} would be lost: the scenario's [sweep] sets {key} in every run" in line
        assert "--set 'sweep={}' runs it once" in line


def test_a_value_that_over_would_replace_is_refused(gauntlet, tiny_file):
    line = gauntlet("sweep", tiny_file, "--over", "seed=[1, 2]", "-s", "seed=3").refusal()

    assert "--set seed=3 would be lost: --over sets 'seed' in every run" in line


def test_values_beside_a_sweep_reach_every_run(gauntlet, tiny_file, tmp_path):
    """An option beside swept names reaches those plug-ins that have it: ``krum``, not ``median``."""
    sweep = '{"defense.name"=["median", "krum"]}'
    options = [
        f"sweep={sweep}",
        "sweep.seed=[4]",
        "defense.num_byzantine=1",
        "training.batch_size=3",
        "rounds=1",
    ]
    call = ["run", tiny_file, *(word for option in options for word in ("-s", option)), "--out", "swept"]
    assert gauntlet(*call).returncode == 0

    manifests = sorted(tmp_path.glob("swept/run-*/manifest.json"))
    stored = [json.loads(path.read_text())["scenario"] for path in manifests]
    assert [s["defense"] for s in stored] == [{"name": "median"}, {"name": "krum", "num_byzantine": 1}]
    assert [(s["seed"], s["rounds"], s["training"]["batch_size"]) for s in stored] == [(4, 1, 3)] * 2


def test_an_emptied_sweep_runs_once_with_the_value(gauntlet, tiny_file, tmp_path):
    options = ["-s", "sweep={seed=[1, 2]}", "-s", "sweep={}", "-s", "seed=3", "-s", "rounds=1"]
    assert gauntlet("run", tiny_file, *options, "--out", "once").returncode == 0

    assert json.loads((tmp_path / "once" / "manifest.json").read_text())["seed"] == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--over 'seed=[1, 2, 1]'", "'seed' has 1 twice"),
        ("""--over 'defense=["mean", {name="mean"}]'""", "'defense' has {'name': 'mean'} twice"),
        ("--set 'sweep.seed=[1, 1]'", "'seed' has 1 twice"),
        ("--over seed=[1] --over seed=[2]", "--over names 'seed' twice"),
        ("--over rounds", "--over needs key=value, got 'rounds'"),
        ("--over rounds=3", "--over needs a list, KEY=[VALUE, ...], got 'rounds=3'"),
    ],
)
def test_values_that_cannot_be_crossed_are_refused_before_anything_runs(options, words, gauntlet, tiny_file):
    assert words in gauntlet("sweep", tiny_file, *shlex.split(options)).refusal()
    assert not (tiny_file.parent / "results").exists()


def test_only_a_plot_with_a_choice_of_axis_takes_one(gauntlet, tiny, tmp_path):
    simulate(tiny(), tmp_path / "r1")
    assert taking("by") == ["accuracy", "reconstructions"]
    assert gauntlet("plot", "accuracy", "r1", "--by", "bytes").returncode == 0

    for name in [*(set(PLOTS) - {"accuracy", "reconstructions"}), *SETS, "all"]:
        line = gauntlet("plot", name, "r1", "--by", "bytes").refusal()
        assert f"'{name}'" in line
        assert "takes no 'by'; plots that take it: accuracy, reconstructions" in line
    assert "unknown x axis 'bites'" in gauntlet("plot", "accuracy", "r1", "--by", "bites").refusal()


def test_pictures_are_of_the_kind_that_is_asked_for(gauntlet, tiny, tmp_path):
    simulate(tiny(rounds=1), tmp_path / "r1")
    plots = tmp_path / "r1" / "plots"

    assert gauntlet("plot", "loss", "r1", "--format", "svg").returncode == 0
    assert sorted(p.name for p in plots.iterdir()) == ["loss.csv", "loss.svg"]
    assert gauntlet("plot", "all", "r1", "--format", "pdf").returncode == 0
    assert {p.suffix for p in plots.iterdir()} == {".csv", ".svg", ".pdf"}
    assert gauntlet("plot", "loss", "r1", "--out", "x.SVG", "--format", "svg").returncode == 0
    line = gauntlet("plot", "loss", "r1", "--out", "x.png", "--format", "svg").refusal()
    assert "--format svg does not go with --out 'x.png'" in line
    assert (
        "'eps' is not one of 'png', 'pdf', 'svg'"
        in gauntlet("plot", "all", "r1", "--format", "eps").refusal()
    )


def test_all_plots_at_once_take_no_name_of_one_picture(gauntlet, tiny, tmp_path):
    simulate(tiny(), tmp_path / "r1")

    assert "'all' draws several plots" in gauntlet("plot", "all", "r1", "--out", "all.png").refusal()
    assert not (tmp_path / "r1" / "plots").exists()
    assert "there is no accuracy to draw" in gauntlet("plot", "privacy-utility", "r1").refusal()


@pytest.mark.parametrize("name", ["accuracy", "timeline", "all"])
def test_a_run_that_stopped_before_its_first_checkpoint_is_named_with_the_way_on(
    name, gauntlet, tiny, tmp_path
):
    """What a run leaves that was killed: its manifest, of status running, and no table."""
    folder = simulate(tiny(), tmp_path / "k1").folder
    whole = pd.read_parquet(folder / "rounds.parquet")
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"complete"', '"running"'))
    for table in [*folder.glob("*.parquet"), *(folder / "checkpoints").iterdir()]:
        table.unlink()

    line = gauntlet("plot", name, "k1").refusal()
    assert "k1 has no round on disk yet; 'gauntlet resume k1' goes on with the run" in line

    assert gauntlet("resume", "k1").returncode == 0
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "rounds.parquet"), whole)
    (folder / "rounds.parquet").unlink()  # of a complete run: damage, and resuming brings nothing back
    assert "k1/rounds.parquet is not there" in gauntlet("plot", "accuracy", "k1").refusal()


def test_a_run_of_a_sweep_that_never_began_is_named_with_the_way_on(gauntlet, tiny_file, tmp_path):
    call = ["sweep", tiny_file, "--over", "seed=[1, 2]", "-s", "rounds=1", "--out", "s1"]
    assert gauntlet(*call).returncode == 0
    (tmp_path / "s1" / "run-001").rename(tmp_path / "elsewhere")

    line = gauntlet("plot", "accuracy", "s1").refusal()
    assert "s1/run-001 has not begun; 'gauntlet resume s1' goes on" in line


def test_a_run_without_a_single_round_is_refused_by_every_plot(gauntlet, tiny_file, tmp_path):
    (tmp_path / "bad.py").write_text(BAD.format("RuntimeError"))
    assert gauntlet("run", tiny_file, "-s", "defense.name=bad.py:Bad", "--out", "f1").returncode == 2

    for name in sorted(PLOTS):
        assert "there is no" in gauntlet("plot", name, "f1").refusal(), name


@pytest.mark.parametrize("command", ["list", pytest.param("show mean", marks=pytest.mark.slow)])
def test_a_reader_who_has_had_enough_ends_a_command_without_a_word(command):
    """As ``gauntlet list | head`` does; 141 is what a shell says of a command that SIGPIPE ended."""
    reader, writer = os.pipe()
    os.close(reader)
    line = [sys.executable, "-m", "gauntlet.sims.cli", *command.split()]
    ended = subprocess.run(line, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)

    assert (ended.returncode, ended.stderr) == (141, b"")
