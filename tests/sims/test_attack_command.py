"""``gauntlet attack``: other attacks on what a run recorded; nothing told to the wrong one, nothing lost."""

import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from attacked_folders import ONE, QUICK, TOLD, codes, files, reports

from gauntlet.sims.results import load_run, read_manifest
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import make_scenario
from gauntlet.sims.sections import Probe
from gauntlet.sims.verify import BEYOND, WHOLE

TINY = {
    "name": "tiny",
    "num_clients": 6,
    "data": "digits",
    "model": {"name": "mlp", "hidden": [8]},
    "runtime": {"pool": "serial"},
}
OLD = Path(__file__).parent / "schema2"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """One message, recorded for a probe that is told the labels and for one that is not."""
    keys = {"rounds": 1, "training": ONE, "probes": [QUICK, TOLD]}
    return simulate(make_scenario({**TINY, **keys}), tmp_path_factory.mktemp("recorded") / "run").folder


@pytest.fixture
def run(recorded, tmp_path):
    """That run, to be attacked by one test alone."""
    return Path(shutil.copytree(recorded, tmp_path / "run"))


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")  # no line of a table is broken


TEN = [
    "dlg",
    '{name="dlg", lr=0.5}',
    '{name="dlg", init="uniform"}',
    '{name="dlg", history=5}',
    '{name="dlg", restarts=2}',
    "idlg",
    '{name="idlg", lr=0.5}',
    '{name="idlg", line_search=true}',
    '{name="idlg", init="uniform"}',
    '{name="idlg", tolerance=0.5}',
]


def test_ten_attacks_on_one_recording_keep_ten_results_and_nothing_else_changes(run, gauntlet):
    place = next(p for p in (run / "observations").iterdir() if "labels-known" not in p.name)
    before = files(run)
    words = [word for attack in TEN for word in ("--with", attack)]

    told = gauntlet("attack", place, *words, "--set", "max_iterations=1")

    assert told.returncode == 0, told.stderr
    assert len(reports(run)) == 10
    assert {(r["attack"], json.dumps(r["options"])) for r in reports(run)} == {
        (name, json.dumps({**options, "max_iterations": 1})) for name, options in map(parsed, TEN)
    }
    assert {r["observation"] for r in reports(run)} == {place.name}
    after = files(run)
    assert {n: c for n, c in after.items() if not n.startswith(("attacked/", "manifest", ".lock"))} == {
        n: c for n, c in before.items() if not n.startswith(("manifest", ".lock"))
    }
    assert told.stdout.count("there already") == 0
    again = gauntlet("attack", place, *words, "--set", "max_iterations=1")
    assert again.stdout.count("there already") == 10
    assert files(run) == after


def parsed(text):
    value = tomllib.loads(f"x={text}")["x"] if text.startswith("{") else {"name": text}
    return value.pop("name"), value


def test_what_one_probe_was_told_reaches_no_attack_on_the_others_recording(run, gauntlet):
    """The labels of a batch of one are read from the gradient, too; whether they were told is said."""
    assert gauntlet("attack", run, "--with", "bias_trick", "--with", "bias_counts").returncode == 0
    found = {(r["attack"], r["observation"]): r for r in reports(run)}

    assert len(found) == 4
    for (attack, observation), report in found.items():
        # bias_counts names no labels, so that it is handed none, whoever recorded them
        assert report["labels_known"] == (attack == "bias_trick" and "labels-known" in observation)
        assert (report["sok"], report["oracle"]) == ("C", [])
    assert len(load_run(run).gallery()) == 2  # the run's own


def test_an_attack_that_several_messages_refuse_has_one_line(run, gauntlet):
    said = gauntlet("attack", run, "--with", "bias_trick", "--with", "embedding_rows")
    lines = [line for line in said.stdout.splitlines() if "refused:" in line]
    assert len(lines) == 1
    assert lines[0].startswith("2 messages: embedding_rows refused: ")


def test_results_are_in_the_manifest_and_verified(run, gauntlet):
    gauntlet("attack", run, "--with", "bias_trick")
    assert codes(run) == {WHOLE}
    listed = read_manifest(run)["files"]
    (first, *_) = sorted(p for p in (run / "attacked").rglob("*.json") if "timings" not in p.name)
    assert first.relative_to(run).as_posix() in listed

    first.write_text(first.read_text() + " ")
    assert BEYOND in codes(run)


def test_what_the_version_before_recorded_is_attacked(run, gauntlet):
    (place,) = (OLD / "identity" / "observations").iterdir()
    old = run / "observations" / place.name
    shutil.copytree(place, old)

    assert gauntlet("attack", old, "--with", "bias_trick").returncode == 0

    (report,) = reports(run)
    (before,) = (OLD / "identity" / "reconstructions").glob("*/reconstruction.json")
    assert report["psnr"] == pytest.approx(json.loads(before.read_text())["psnr"], abs=0.5)
    assert report["sok"] == "C"


def test_the_list_says_what_each_message_allows_and_why_not(run, gauntlet, tiny, tmp_path):
    simulate(tiny(rounds=1, probes=[QUICK]), tmp_path / "two")  # two examples a step
    before = files(tmp_path / "two")
    told = gauntlet("attack", "two", "--list").stdout

    assert "update of 1 client" in told
    assert "batch_size = 2, local_steps = 1, lr = 0.5" in told
    assert told.count("yes, SoK C") == 6  # dlg, bayes, bias_counts, llg_whitebox, ilrg, dimitrov_counts
    assert told.count("only, got batch_size = 2") == 3  # idlg, bias_trick, rgap
    assert files(tmp_path / "two") == before
    assert gauntlet("attack", run, "--list", "--with", "idlg").stdout.count("yes, SoK C") == 2


BAD = {
    "nothing to do": (["run"], "name an attack with --with"),
    "no such attack": (["run", "--with", "dgl"], "did you mean 'dlg'"),
    "no such option": (["run", "--with", "dlg", "--set", "iterations=2"], "unknown option 'iterations'"),
    "an option without a value": (["run", "--with", "dlg", "--set", "lr"], "--set needs key=value"),
    "a table without a name": (["run", "--with", "{lr=1}"], "--with needs a name"),
    "a value out of range": (["run", "--with", "dlg", "--set", "lr=-1"], "lr must be above 0"),
    "no such folder": (["nowhere", "--with", "dlg"], "holds no run"),
    "a pattern of nothing": (["no*", "--with", "dlg"], "no result folder fits 'no*'"),
    "no such recording": (["run/observations/round-000009-client-000001-x", "--with", "dlg"], "no recording"),
    "options and no attack": (["run", "--list", "--set", "lr=1"], "name an attack with --with"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_changes_nothing(run, gauntlet, case):
    words, complaint = BAD[case]
    before = files(run)

    assert complaint in gauntlet("attack", *words).refusal()
    assert files(run) == before


CLUMSY = """
class Clumsy:
    def reconstruct(self, observations, generator):
        return 1 / 0
"""
BETTER = """
import torch
from gauntlet.core.observation import Reconstruction
class Clumsy:
    uses = ("batch_size",)
    def reconstruct(self, observations, generator):
        x = torch.full((1, 1, 8, 8), 0.5)
        return Reconstruction(x, torch.zeros(1).long(), 0.0, (), "closed_form", {})
"""


def test_an_attack_that_fails_is_one_line_and_the_others_results_are_kept(run, gauntlet, tmp_path):
    (tmp_path / "clumsy.py").write_text(CLUMSY)
    told = gauntlet("attack", run, "--with", "clumsy.py:Clumsy", "--with", "bias_trick").refusal()

    assert "Clumsy' raised ZeroDivisionError" in told
    assert len(reports(run)) == 2
    assert codes(run) == {WHOLE}


def test_another_code_of_the_same_name_keeps_results_of_its_own(run, gauntlet, tmp_path):
    for fill in ("0.5", "0.25"):
        (tmp_path / "clumsy.py").write_text(BETTER.replace("0.5", fill))
        assert gauntlet("attack", run, "--with", "clumsy.py:Clumsy").returncode == 0

    assert len(reports(run)) == 4
    assert len({json.dumps(r["code"]) for r in reports(run)}) == 2
    assert len(list((run / "code").glob("*-clumsy.py"))) == 2
    assert codes(run) == {WHOLE}
    assert {r["sok"] for r in reports(run)} == {"B"}


def test_attacking_while_the_run_goes_on_is_refused(run, gauntlet):
    from gauntlet.core.locks import FolderLock

    with FolderLock(run):
        assert "is in use by another process" in gauntlet("attack", run, "--with", "dlg").refusal()


def test_an_attack_of_the_runs_own_name_changes_none_of_its_results(run, gauntlet):
    """As its probe had it, to the last bit: the stream is the run's."""
    own = next(i for i in load_run(run).gallery() if not i.settings["labels_known"])
    gauntlet("attack", run, "--with", "dlg", "--set", "max_iterations=2")
    again = load_run(run).attacked()

    assert len(again) == 2
    (same,) = (i for i in again if not i.settings["labels_known"])
    assert np.array_equal(same.rebuilt, own.rebuilt)
    assert same.settings == own.settings
    assert Probe(**QUICK).identity() in str(next((run / "attacked").glob("*")))
