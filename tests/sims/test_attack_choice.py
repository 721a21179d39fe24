"""``gauntlet attack --codec-aware`` and ``--with auto``: which attacks run on a lossy frame, and how."""

import shutil
from pathlib import Path
from typing import ClassVar

import pytest
from attacked_folders import ONE, reports

from gauntlet.attacks.leakage.bias_trick import BiasTrick
from gauntlet.attacks.leakage.parts.requirements import refuse_unmet
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.server.recording.replays import load_observation
from gauntlet.sims.arguments import Aware
from gauntlet.sims.attack_choice import attacks_of, automatic
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import make_scenario

TINY = {
    "name": "tiny",
    "rounds": 1,
    "num_clients": 6,
    "data": "digits",
    "model": {"name": "mlp", "hidden": [64, 64], "activation": "tanh"},
    "runtime": {"pool": "serial"},
    "codec": {"name": "topk", "density": 0.1},
    "training": ONE,
    "probes": [{"name": "bias_trick", "rounds": [0]}],
}
SMOOTH = ["--set", "tv=[0.0, 0.0]", "--set", "max_iterations=150"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return simulate(make_scenario(TINY), tmp_path_factory.mktemp("choice") / "run").folder


@pytest.fixture
def run(recorded, tmp_path):
    return Path(shutil.copytree(recorded, tmp_path / "run"))


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.mark.slow
def test_with_and_without_what_the_codec_says_are_two_rows_of_one_command(run, gauntlet):
    """Top-k at a tenth: the attacker that takes zeros for small values sees the image, the other does not."""
    told = gauntlet("attack", run, "--with", "inverting_gradients", "--codec-aware", "both", *SMOOTH)

    assert told.returncode == 0, told.stderr
    found = {r["codec_aware"]: r for r in reports(run)}
    assert {aware: r["options"]["objective"] for aware, r in found.items()} == {True: "auto", False: "plain"}
    assert found[True]["psnr"][0] > found[False]["psnr"][0] + 10
    assert "objective=auto" in told.stdout
    assert "objective=plain" in told.stdout


def test_auto_runs_what_is_exact_then_the_best_that_matches_and_says_what_worked(run, gauntlet):
    told = gauntlet("attack", run, "--with", "auto", *SMOOTH)

    assert told.returncode == 0, told.stderr
    assert {r["attack"] for r in reports(run)} == {"bias_trick", "inverting_gradients"}
    assert "refused: EmbeddingRows works on inputs that are tokens" in told.stdout
    (verdict,) = [line for line in told.stdout.splitlines() if "rebuilt by" in line]
    assert f"{run}: client 0, round 0, bias-trick" in verdict
    assert "rebuilt by inverting_gradients" in verdict
    assert verdict.endswith("refused")


def test_of_those_that_match_the_next_is_taken_where_the_preferred_is_refused(tmp_path, gauntlet):
    """Inverting Gradients needs the labels of two examples, and DLG searches them, too."""
    values = {**TINY, "training": {**ONE, "batch_size": 2}, "probes": [{"name": "dlg", "rounds": [0]}]}
    values["probes"][0]["max_iterations"] = 1
    folder = simulate(make_scenario(values), tmp_path / "run").folder

    told = gauntlet("attack", folder, "--with", "auto", "--set", "max_iterations=1")

    assert told.returncode == 0, told.stderr
    assert {r["attack"] for r in reports(folder)} == {"dlg"}


def test_auto_is_the_exact_ones_and_then_those_that_match_by_preference():
    names = automatic()

    assert names[-3:] == ["inverting_gradients", "dlg", "idlg"]
    assert {"bias_trick", "imprint_bins", "trap_rows", "embedding_rows"} <= set(names[:-3])


def test_an_attack_that_is_named_stays_beside_what_auto_means():
    attacks, meant = attacks_of(["auto", "dlg"], [])

    assert "dlg" in [attack.name for attack in attacks]
    assert "dlg" not in [attack.name for attack in meant]


@pytest.mark.parametrize("named", ["inverting_gradients", "dlg"])
def test_the_best_that_matches_runs_once_whoever_names_it(run, gauntlet, named):
    """Beside the most preferred auto runs no second one; beside another it runs the most preferred."""
    told = gauntlet("attack", run, "--with", "auto", "--with", named, "--set", "max_iterations=1")

    assert told.returncode == 0, told.stderr
    assert {r["attack"] for r in reports(run)} == {"bias_trick", "inverting_gradients", named}


def test_an_option_reaches_those_that_take_it():
    attacks, _ = attacks_of(["auto"], ["tv=[0.0, 0.0]"])

    assert [a.name for a in attacks if a.options] == ["inverting_gradients"]


@pytest.mark.parametrize(
    ("names", "options", "aware", "error", "words"),
    [
        (["bias_trick"], [], "both", PluginError, "does not say how it takes or leaves what a codec says"),
        (["inverting_gradients"], ["objective=auto"], "no", ScenarioError, "sets option 'objective'"),
        (["auto"], ["sharpness=2"], None, PluginError, "none of the attacks that 'auto' means has an option"),
    ],
)
def test_what_does_not_go_together_is_one_line(names, options, aware, error, words):
    with pytest.raises(error, match=words):
        attacks_of(names, options, aware and Aware(aware))


def test_awareness_without_an_attack_is_one_line(run, gauntlet):
    told = gauntlet("attack", run, "--list", "--codec-aware", "both")

    assert told.returncode == 2
    assert "name an attack with --with" in told.stderr


class LosslessOnly(BiasTrick):
    lossless: ClassVar[bool] = True


def test_an_attack_on_lossless_frames_alone_refuses_a_lossy_one_in_one_line(run):
    (place,) = (run / "observations").iterdir()
    observation = load_observation(place)

    refuse_unmet(BiasTrick(), observation)
    with pytest.raises(
        PluginError, match=r"lose nothing, and codec 'topk.*does .*such as inverting_gradients"
    ):
        refuse_unmet(LosslessOnly(), observation)
