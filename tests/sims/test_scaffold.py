"""``gauntlet new``: what it writes works as it is."""

import json

import pytest
from commands import Command

from gauntlet.clients.codecs import CODECS
from gauntlet.clients.codecs.contract import CHECKS as CODEC_CHECKS
from gauntlet.core.errors import PluginError, ResultsError
from gauntlet.sims.cells import place_of
from gauntlet.sims.results import Run
from gauntlet.sims.scaffold import scaffold
from gauntlet.sims.scenario import load_scenario


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("attack", marks=pytest.mark.slow),
        pytest.param("data-attack", marks=pytest.mark.slow),
        pytest.param("leakage-attack", marks=pytest.mark.slow),
        "defense",
        pytest.param("client-defense", marks=pytest.mark.slow),
        pytest.param("codec", marks=pytest.mark.slow),
        pytest.param("schedule", marks=pytest.mark.slow),
        pytest.param("server", marks=pytest.mark.slow),
        pytest.param("task", marks=pytest.mark.slow),
        pytest.param("dataset", marks=pytest.mark.slow),
    ],
)
def test_the_new_plug_in_passes_its_own_test_and_the_contract(kind, gauntlet, tmp_path):
    result = gauntlet("new", kind, "my_thing")
    scenario = ["my_thing.toml"] if kind in ("leakage-attack", "codec", "dataset") else []
    assert result.stdout.split() == ["my_thing.py", "test_my_thing.py", *scenario]

    assert gauntlet("check-plugin", "my_thing.py:MyThing").returncode == 0
    options = ("-q", "-p", "no:cacheprovider", str(tmp_path))
    tested = Command(tmp_path, *options, program=pytest.console_main)
    code, _ = tested.ended(240)
    assert (code, "2 passed" in tested.said()) == (0, True), tested.said()


def test_the_new_leakage_attack_has_a_scenario(tmp_path, monkeypatch):
    scaffold("leakage-attack", "my_thing", tmp_path)
    monkeypatch.chdir(tmp_path)

    found = load_scenario("my_thing.toml")

    assert [probe.name.rpartition("/")[2] for probe in found.probes] == ["my_thing.py:MyThing"] * 2


@pytest.mark.slow
def test_the_new_leakage_attacks_scenario_runs(gauntlet, tmp_path):
    """Three messages under each of two codecs: one digit each, exact but for how halves are rounded."""
    scaffold("leakage-attack", "my_thing", tmp_path)

    told = gauntlet("run", "my_thing.toml", "--out", "found")

    assert told.returncode == 0, told.stderr
    reports = [json.loads(p.read_text()) for p in sorted((tmp_path / "found").rglob("reconstruction.json"))]
    assert len(reports) == 6
    assert min(report["psnr"][0] for report in reports) > 40


def test_the_new_codec_keeps_its_promises_and_its_scenario_loads(tmp_path, monkeypatch):
    """The contract itself, and the file's own test, run in this process."""
    scaffold("codec", "my_thing", tmp_path)
    monkeypatch.chdir(tmp_path)
    codec = CODECS.build("my_thing.py:MyThing", {"gain": 0.5})
    for promise in CODEC_CHECKS:
        promise(codec)

    assert [
        c if isinstance(c, str) else c["name"] for c in load_scenario("my_thing.toml").sweep["codec"]
    ] == [
        "identity",
        f"{tmp_path}/my_thing.py:MyThing",
        "error_feedback",
    ]


@pytest.mark.slow
def test_the_new_codecs_scenario_runs(gauntlet, tmp_path):
    """A bit a coordinate takes about a 32nd of the bytes; error feedback repairs what it loses."""
    scaffold("codec", "my_thing", tmp_path)

    told = gauntlet("run", "my_thing.toml", "--out", "found", "--set", "rounds=3")

    assert told.returncode == 0, told.stderr
    sent = [int(Run(tmp_path / "found" / place_of(n)).rounds.total_bytes_up.iloc[-1]) for n in range(3)]
    assert sent[1] == sent[2] < sent[0] / 25


def test_the_new_dataset_is_learnt_by_its_owners(gauntlet, tmp_path):
    """Clouds four deviations apart: a line between them is wrong in 2.3 % of cases, by the normal tail."""
    scaffold("dataset", "my_thing", tmp_path)

    told = gauntlet("run", "my_thing.toml", "--out", "found", "--set", "rounds=8")

    assert told.returncode == 0, told.stderr
    run = Run(tmp_path / "found")
    assert run.rounds["accuracy"].iloc[-1] > 0.93
    assert set(run.clients["client_id"]) == {0, 1, 2, 3}


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "test_my_thing.py").write_text("mine")

    with pytest.raises(ResultsError, match=r"test_my_thing.py is there already; nothing was written"):
        scaffold("defense", "my_thing", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["test_my_thing.py"]


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [("defence", "x", "did you mean 'defense'"), ("attack", "My-Attack", "a Python name in lower case")],
)
def test_a_misspelt_kind_or_a_name_that_is_none_is_refused(kind, name, words, tmp_path):
    with pytest.raises(PluginError, match=words):
        scaffold(kind, name, tmp_path)
