"""Folders of others: what they name is looked at before anything of it is loaded, joined or written."""

import json
import os
import shutil
from pathlib import Path

import pytest

from gauntlet.core.errors import PluginError, ResultsError
from gauntlet.sims.ownership import is_own, key_path, refuse_drawing, refuse_links, signature
from gauntlet.sims.provenance import Consent
from gauntlet.sims.results import load_run
from gauntlet.sims.run import resume, simulate
from gauntlet.sims.scenario import make_scenario
from gauntlet.sims.sweep import load_runs, sweep

PLUG = """
from dataclasses import dataclass
from gauntlet.core.contracts import Verdict
open(__file__ + ".ran", "w").close()

@dataclass(frozen=True)
class Middle:
    def init(self): return None
    def aggregate(self, updates, state):
        return Verdict(updates.vectors.mean(dim=0)), state
"""


class Interrupted(BaseException):
    """Stops a run after some rounds, as a kill does."""


class Stop:
    """A progress that lets nobody pass round 3."""

    def advance(self, run, round_, score, clients, seconds):
        if round_ + 1 == 3:
            raise Interrupted

    def __getattr__(self, name):
        return lambda *arguments: None


@pytest.fixture
def plug(tmp_path: Path) -> Path:
    (tmp_path / "plug.py").write_text(PLUG)
    return tmp_path / "plug.py"


@pytest.fixture
def begun(plug, tiny, tmp_path) -> Path:
    """A run with a plug-in that somebody stopped; the plug-in's trace is wiped."""
    with pytest.raises(Interrupted):
        simulate(tiny(defense=f"{plug}:Middle"), tmp_path / "run", Stop())
    (tmp_path / "plug.py.ran").unlink()
    for name in [n for n in __import__("sys").modules if n.startswith("gauntlet_plugin_plug_")]:
        del __import__("sys").modules[name]  # as in the process that will resume it
    return tmp_path / "run"


@pytest.fixture
def another_user(tmp_path, monkeypatch):
    """From here on, the key is another one."""

    def become():
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    return become


def edit(folder: Path, **changes) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_key_is_the_users_alone_and_signs_what_decides_which_code_runs(another_user):
    another_user()
    document = {"scenario": {"defense": {"name": "a.py:A"}}, "code": {"a.py": "0"}, "label": "x"}
    signed = document | {"signature": signature(document)}

    assert key_path().stat().st_mode & 0o777 == 0o600
    assert key_path().parent.stat().st_mode & 0o777 == 0o700
    assert is_own(signed)
    assert is_own(signed | {"label": "y"})
    for forged in (
        document,
        signed | {"signature": None},
        signed | {"signature": "0" * 64},
        signed | {"code": {"a.py": "1"}},
        signed | {"code": {}},
        signed | {"changes": [{"code": {"a.py": "1"}}]},
        signed | {"scenario": {"defense": {"name": "b.py:A"}}},
        signed | {"runs": [{"scenario": {}}]},
    ):
        assert not is_own(forged), forged


def test_a_key_that_others_can_read_signs_nothing_and_recognises_nothing(another_user):
    another_user()
    signed = {"scenario": {}, "signature": signature({"scenario": {}})}
    key_path().chmod(0o644)

    assert signature({"scenario": {}}) is None
    assert not is_own(signed)


def test_without_a_place_for_a_key_a_run_is_not_signed_and_runs(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))

    assert simulate(tiny(rounds=1), tmp_path / "run").manifest["signature"] is None


def test_ones_own_run_and_a_copy_of_it_anywhere_go_on_without_a_question(begun, tmp_path):
    shutil.copytree(begun, tmp_path / "elsewhere" / "copy")

    assert resume(tmp_path / "elsewhere" / "copy").manifest["status"] == "complete"
    assert resume(begun).manifest["status"] == "complete"


def test_a_run_of_another_user_loads_nothing_from_outside_until_that_is_allowed(begun, plug, another_user):
    another_user()
    with pytest.raises(PluginError) as caught:
        resume(begun)
    assert str(caught.value) == (
        f"defense '{plug}:Middle' is code from outside the package, and {begun} is not signed by this user "
        "on this machine: look at what it names, then say --allow-code"
    )
    assert not Path(f"{plug}.ran").exists()
    assert resume(begun, consent=Consent(allow_code=True)).manifest["status"] == "complete"
    assert Path(f"{plug}.ran").exists()


@pytest.mark.parametrize("key", ["signature", "code", "data"])
def test_a_folder_that_plays_one_of_the_version_before_is_one_of_others(begun, plug, key):
    manifest = json.loads((begun / "manifest.json").read_text())
    manifest.pop("signature")
    manifest.pop(key, None)
    plain = make_scenario(manifest["scenario"])
    manifest["fingerprint"] = plain.fingerprint(manifest.get("code", {}))
    (begun / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(PluginError, match="is not signed by this user on this machine"):
        resume(begun)
    assert not Path(f"{plug}.ran").exists()


def test_a_signed_folder_of_ones_own_with_another_plug_in_put_in_is_one_of_others(begun, plug, tmp_path):
    (tmp_path / "evil.py").write_text(PLUG)
    scenario = json.loads((begun / "manifest.json").read_text())["scenario"]
    scenario["defense"] = {"name": f"{tmp_path}/evil.py:Middle"}
    code = {f"{tmp_path}/evil.py": "0"}
    edit(begun, scenario=scenario, fingerprint=make_scenario(scenario).fingerprint(code), code=code)

    with pytest.raises((PluginError, ResultsError)):
        resume(begun)
    with pytest.raises((PluginError, ResultsError)):
        resume(begun, consent=Consent(accept_changes=True))
    assert not (tmp_path / "evil.py.ran").exists()


def test_a_run_of_another_user_without_outside_code_goes_on(tiny, tmp_path, another_user):
    with pytest.raises(Interrupted):
        simulate(tiny(), tmp_path / "run", Stop())
    another_user()

    assert resume(tmp_path / "run").manifest["status"] == "complete"


def test_a_ray_cluster_that_a_folder_of_others_names_is_not_joined(tiny, tmp_path, another_user):
    with pytest.raises(Interrupted):
        simulate(tiny(), tmp_path / "run", Stop())
    scenario = json.loads((tmp_path / "run" / "manifest.json").read_text())["scenario"]
    runtime = {"pool": "ray", "ray_address": "192.0.2.1:6379"}
    edit(tmp_path / "run", scenario=scenario | {"runtime": scenario["runtime"] | runtime})

    with pytest.raises(ResultsError, match=r"Ray cluster at 192.0.2.1:6379 would be joined"):
        resume(tmp_path / "run")
    serial = make_scenario(scenario).runtime
    assert resume(tmp_path / "run", runtime=serial).manifest["status"] == "complete"


@pytest.mark.parametrize("whose", ["one's own", "another's"])
def test_a_link_in_a_folder_is_not_written_through(tiny, tmp_path, another_user, gauntlet, whose):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    with pytest.raises(Interrupted):
        simulate(tiny(), tmp_path / "run", Stop())
    (tmp_path / "run" / "manifest.part").symlink_to(victim)
    if whose == "another's":
        another_user()

    with pytest.raises(ResultsError, match=r"manifest.part is a link or no plain file"):
        resume(tmp_path / "run")
    assert "manifest.part is a link" in gauntlet("plot", "loss", tmp_path / "run").refusal()
    (tmp_path / "run" / "manifest.part").unlink()
    os.mkfifo(tmp_path / "run" / "pipe")
    with pytest.raises(ResultsError, match=r"pipe is a link or no plain file"):
        refuse_drawing(tmp_path / "run")
    assert victim.read_text() == "mine"


def test_a_file_that_its_owner_renames_meanwhile_is_no_link(tmp_path, monkeypatch):
    """The folder is listed, then the file goes: here the list is given, and the file was never there."""
    monkeypatch.setattr("os.walk", lambda folder: [(str(folder), [], ["manifest.part"])])

    refuse_links(tmp_path)


def test_whoever_only_reads_a_folder_runs_nothing_that_it_names(begun, plug, another_user, gauntlet):
    another_user()
    run = load_run(begun)

    assert len(load_runs([begun])) == 1
    assert run.manifest["scenario"]["defense"]["name"] == f"{plug}:Middle"
    assert "begun" not in run.manifest
    gauntlet("plot", "loss", begun)
    gauntlet("plot", "all", begun, "--only", f"defense.name={plug}:Middle")
    assert not Path(f"{plug}.ran").exists()


def test_a_sweep_of_another_user_loads_nothing_from_outside_until_that_is_allowed(
    plug, tiny, tmp_path, another_user, gauntlet
):
    sweep(tiny(defense=f"{plug}:Middle", sweep={"seed": [1, 2]}), tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "run-001")
    Path(f"{plug}.ran").unlink()
    for name in [n for n in __import__("sys").modules if n.startswith("gauntlet_plugin_plug_")]:
        del __import__("sys").modules[name]
    another_user()

    assert "then say --allow-code" in gauntlet("resume", "out", "-q").refusal()
    assert not Path(f"{plug}.ran").exists()
    assert gauntlet("resume", "out", "--allow-code", "-q").returncode == 0
