"""Code, versions and data are part of a run: kept in its folder, and compared when it is resumed."""

import gzip
import json
import shutil
from pathlib import Path

import pytest

from gauntlet.core.errors import ResultsError
from gauntlet.sims.outside_code import named_outside
from gauntlet.sims.provenance import Consent, changed_code, versions
from gauntlet.sims.run import resume, simulate

PLUG = """
from dataclasses import dataclass
import beside_the_plug
from gauntlet.core.contracts import Verdict

@dataclass(frozen=True)
class Middle:
    def init(self): return None
    def aggregate(self, updates, state):
        return Verdict(updates.vectors.mean(dim=0) * beside_the_plug.SCALE), state
"""


class Interrupted(BaseException):
    """Stops a run after some rounds, as a kill does."""


class Stop:
    """A progress that lets nobody pass a round."""

    def __init__(self, after: int) -> None:
        self._after = after

    def advance(self, run, round_, score, clients, seconds):
        if round_ + 1 == self._after:
            raise Interrupted

    def __getattr__(self, name):
        return lambda *arguments: None


class Notes(Stop):
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(-1)
        self.told = []

    def note(self, text):
        self.told.append(text)


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def write(folder: Path, content: dict) -> None:
    (folder / "manifest.json").write_text(json.dumps(content))


def begin(scenario, folder: Path) -> Path:
    """A run that was stopped in round 3 of 4, with a checkpoint after round 2."""
    with pytest.raises(Interrupted):
        simulate(scenario, folder, Stop(3))
    return folder


@pytest.fixture
def plug(tmp_path: Path, monkeypatch) -> Path:
    """A plug-in in one file, and the module beside it that it imports."""
    (tmp_path / "beside_the_plug.py").write_text("SCALE = 1.0\n")
    (tmp_path / "plug.py").write_text(PLUG)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "plug.py"


def test_the_sources_of_outside_code_are_hashed_and_copied_and_nothing_is_of_what_ships(plug, tiny, tmp_path):
    run = begin(tiny(defense=f"{plug}:Middle"), tmp_path / "run")
    plain = begin(tiny(), tmp_path / "plain")

    code = manifest(run)["code"]
    assert list(code) == [str(plug), "beside_the_plug"]
    copies = {path.name: path.read_text() for path in (run / "code").iterdir()}
    assert copies == {
        f"{code[str(plug)][:16]}-plug.py": PLUG,
        f"{code['beside_the_plug'][:16]}-beside_the_plug.py": "SCALE = 1.0\n",
    }
    assert manifest(plain)["code"] == {}
    assert not (plain / "code").exists()


def test_the_fingerprint_follows_the_content_of_outside_code(plug, tiny):
    scenario = tiny(defense=f"{plug}:Middle")
    before, same = scenario.fingerprint(), scenario.fingerprint()
    (plug.parent / "beside_the_plug.py").write_text("SCALE = 2.0\n")

    assert before == same
    assert scenario.fingerprint() != before
    assert tiny().fingerprint() == tiny().fingerprint({})


@pytest.mark.parametrize("name", ["plug.py", "beside_the_plug.py"])
def test_changed_code_is_refused_in_one_line_that_names_it_before_it_is_run(plug, tiny, tmp_path, name):
    run = begin(tiny(defense=f"{plug}:Middle"), tmp_path / "run")
    traced = f"open({str(tmp_path / 'ran')!r}, 'w')\n" + (plug.parent / name).read_text()
    (plug.parent / name).write_text(traced)
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    with pytest.raises(ResultsError) as caught:
        resume(run)
    named = plug if name == "plug.py" else "beside_the_plug"
    assert f"changed since the run began: the code of {named}" in str(caught.value)
    assert str(caught.value).endswith("put it back, or go on from here with --accept-changes")
    assert not (tmp_path / "ran").exists()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == files


def test_accepted_changes_stand_in_the_manifest_with_their_round_and_are_asked_for_once(plug, tiny, tmp_path):
    run = begin(tiny(defense=f"{plug}:Middle"), tmp_path / "run")
    begun, changed = manifest(run), PLUG + "x = 1\n"
    plug.write_text(changed)
    with pytest.raises(Interrupted):
        resume(run, Stop(4), consent=Consent(accept_changes=True))

    (change,) = manifest(run)["changes"]
    assert (change["round"], change["changed"]) == (2, [f"the code of {plug}"])
    assert manifest(run)["code"] == begun["code"] != change["code"]
    assert manifest(run)["fingerprint"] == begun["fingerprint"]
    assert changed in [path.read_text() for path in (run / "code").iterdir()]
    assert resume(run).manifest["status"] == "complete"
    assert len(manifest(run)["changes"]) == 1


@pytest.mark.parametrize(
    ("name", "was", "refused"),
    [
        ("torch", "1.0", True),
        ("numpy", "1.0", True),
        ("scikit-learn", "absent", True),
        ("gauntlet", "0.0.9", True),
        ("python", "3.10.2", True),
        ("ray", "1.0", False),
        ("pandas", "1.0", False),
    ],
)
def test_another_version_of_what_makes_bits_is_a_change_and_of_what_carries_them_is_none(name, was, refused):
    now = versions()
    changes = changed_code({"code": {}, "versions": now | {name: was}}, {})

    assert changes == ([f"{name} {was} (now {now[name]})"] if refused else [])


def test_a_smaller_number_of_python_is_no_change():
    now = versions()
    other = ".".join([*now["python"].split(".")[:2], "99"])
    assert changed_code({"code": {}, "versions": now | {"python": other}}, {}) == []


def test_a_changed_data_file_is_refused_by_the_data_sets_name(tiny, tmp_path, monkeypatch, real_data):
    real_data("heart_disease")
    from gauntlet.clients.data.files import find_folder
    from gauntlet.clients.data.heart_disease import FILES as files

    name = "heart_disease"
    shutil.copytree(find_folder(name, files), tmp_path / "data" / name)
    monkeypatch.setenv("GAUNTLET_DATA", str(tmp_path / "data"))
    scenario = tiny(data=name, partition="natural", num_clients=4, model="logistic_regression")
    run = begin(scenario, tmp_path / "run")
    path = tmp_path / "data" / name / files[0]
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[1:], lines[1]]) + "\n")

    with pytest.raises(
        ResultsError, match="changed since the run began: the data of heart_disease; put it back"
    ):
        resume(run)
    done = resume(run, consent=Consent(accept_changes=True)).manifest
    assert (done["status"], done["changes"][0]["round"]) == ("complete", 2)


def test_a_run_of_a_version_that_kept_no_hashes_goes_on_with_a_note_and_the_same_bits(tiny, tmp_path):
    whole = simulate(tiny(), tmp_path / "whole")
    run, notes = begin(tiny(), tmp_path / "run"), Notes()
    old = {k: v for k, v in manifest(run).items() if k not in {"code", "data", "signature"}}
    write(run, old | {"versions": {"gauntlet": "0.0.1", "torch": "1.0"}})

    done = resume(run, notes)
    assert done.rounds.equals(whole.rounds)
    assert any("whether they changed is not known" in line for line in notes.told)


@pytest.mark.parametrize(
    "said",
    [
        {"code": []},
        {"versions": None},
        {"versions": "x"},
        {"data": 3},
        {"changes": [3]},
        {"changes": [{"code": 1}]},
        {"changes": "x"},
        {"changes": {}},
    ],
)
def test_a_manifest_that_holds_something_else_there_is_one_line(tiny, tmp_path, said, monkeypatch):
    run = begin(tiny(), tmp_path / "run")
    write(run, manifest(run) | said)
    with pytest.raises(ResultsError, match="expected a"):
        resume(run)


@pytest.mark.slow
def test_a_sweep_does_not_mix_runs_of_other_code_without_a_word(gauntlet, plug, tiny_file, tmp_path):
    """The first variant is complete; the second is not begun and would run the new code."""
    over = ["--over", "seed=[1,2]", "-s", f"defense={plug}:Middle", "--out", "out", "-q"]
    assert gauntlet("sweep", tiny_file, *over).returncode == 0
    shutil.rmtree(tmp_path / "out" / "run-001")
    plug.write_text(PLUG + "x = 1\n")

    refused = gauntlet("resume", "out")
    assert f"changed since the run began: the code of {plug}" in refused.refusal()
    assert not (tmp_path / "out" / "run-001").exists()
    assert gauntlet("resume", "out", "--accept-changes", "-q").returncode == 0
    swept = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert swept["changes"][0]["changed"] == [f"the code of {plug}"]
    assert gauntlet("resume", "out", "-q").returncode == 0


def test_a_packed_copy_of_the_same_examples_is_no_change(tiny, tmp_path, monkeypatch, real_data):
    """What is hashed is what is learnt from: gzip with another level gives other bytes and equal pixels."""
    real_data("mnist")
    from gauntlet.clients.data.idx_images import FILES

    source = next(p for p in _mnist_folders() if (p / FILES[0]).is_file())
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    for name in FILES:
        (tmp_path / "data" / "mnist" / name).write_bytes((source / name).read_bytes())
    monkeypatch.setenv("GAUNTLET_DATA", str(tmp_path / "data"))
    scenario = tiny(data="mnist", num_clients=6, model="logistic_regression")
    run = begin(scenario, tmp_path / "run")
    labels = tmp_path / "data" / "mnist" / FILES[3]
    labels.write_bytes(gzip.compress(gzip.decompress(labels.read_bytes()), 1))

    assert resume(run).manifest["status"] == "complete"


def _mnist_folders():
    from gauntlet.clients.data.files import data_roots

    return [root / "mnist" for root in data_roots()]


def test_outside_code_is_found_wherever_a_scenario_can_name_it(tiny):
    """Every section, an option of a plug-in, an attack after an attack, a Flower strategy, lists to cross."""
    scenario = tiny(
        description="see other.module:Thing",
        data="mine.data:Set",
        partition="/a/parts.py:Split",
        model={"name": "mine.models:net", "width": 3},
        defense={"name": "flower:mine.flower:Strategy"},
        pre_aggregations=["mine.pre:Pre", "nnm"],
        privacy={"name": "gaussian", "clip_norm": 1.0, "clipping": {"name": "mine.clip:Clip"}},
        attacks=[{"name": "label_flip", "count": 1, "update": "mine.attack:Update"}],
        probes=[{"name": "gauntlet.results.x:Probe"}],
        sweep={"codec": [{"name": "mine.codec:Codec"}]},
        matrix={"defenses": [["mine.pre:Other", "gauntlet.defenses.mean:WeightedMean"]]},
    )
    assert named_outside(scenario.values()) == [
        "/a/parts.py:Split",
        "gauntlet.results.x:Probe",
        "mine.attack:Update",
        "mine.clip:Clip",
        "mine.codec:Codec",
        "mine.data:Set",
        "mine.flower:Strategy",
        "mine.models:net",
        "mine.pre:Other",
        "mine.pre:Pre",
    ]
