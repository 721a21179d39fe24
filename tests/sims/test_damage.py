"""Damaged, swapped and lost files of a run: never taken for what they were, never in the way without need."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from gauntlet.core.errors import CheckpointError, GauntletError, ResultsError
from gauntlet.sims.progress import Silent
from gauntlet.sims.results import load_run, read_manifest
from gauntlet.sims.run import resume, simulate
from gauntlet.sims.verify import verify

TABLES = ("rounds", "clients", "classes", "attacks", "scores", "outputs")
SCHEMA_1 = Path(__file__).parent / "schema1"


class Stop(BaseException):
    """What takes a run down without any farewell, as ``kill -9`` does."""


class Stopper(Silent):
    """Stop in a round, after the checkpoint before it; note what the run says."""

    def __init__(self, round_: int | None = None) -> None:
        self.round, self.notes = round_, list[str]()

    def advance(self, run, round_, score, clients, seconds):
        if round_ == self.round:
            raise Stop

    def note(self, text):
        self.notes.append(text)


def stop(scenario, folder: Path, round_: int) -> Path:
    with pytest.raises(Stop):
        simulate(scenario, folder, Stopper(round_))
    return folder


def bits(folder: Path) -> dict[str, bytes]:
    files = [folder / f"{name}.parquet" for name in TABLES] + sorted((folder / "checkpoints").iterdir())
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A scenario of 4 rounds, its whole run, and one that stopped with checkpoints of rounds 2 and 3."""
    from gauntlet.sims.scenario import make_scenario

    folder = tmp_path_factory.mktemp("damage")
    scenario = make_scenario(json.loads((SCHEMA_1 / "begun" / "manifest.json").read_text())["scenario"])
    return simulate(scenario, folder / "whole").folder, stop(scenario, folder / "stopped", 3)


@pytest.fixture
def stopped(runs, tmp_path):
    return Path(shutil.copytree(runs[1], tmp_path / "stopped"))


def turn(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def frames_of(folder: Path) -> list[int]:
    """Where the journal ends that each checkpoint counts on, oldest first."""
    from gauntlet.server.checkpoint import checkpoints, read_checkpoint

    begun = read_manifest(folder)["fingerprint"]
    found = [read_checkpoint(path, begun).beside["tables"] for path in checkpoints(folder / "checkpoints")]
    return [mark["bytes"] for mark in found]


def codes(folder: Path) -> int:
    return max(found.code for found in verify(folder))


def test_a_run_that_stopped_goes_on_without_a_word(runs, stopped):
    teller = Stopper()

    assert codes(stopped) == 0
    assert bits(resume(stopped, teller).folder) == bits(runs[0])
    assert "notes" not in read_manifest(stopped)
    assert len(teller.notes) == 1  # how its clients train


DAMAGE_OF_THE_NEWEST = {
    "a turned bit of the checkpoint": lambda f: turn(f / "checkpoints/round-000003.safetensors", 300),
    "a checkpoint cut off": lambda f: (f / "checkpoints/round-000003.safetensors").write_bytes(b"x" * 99),
    "the one before in its place": lambda f: shutil.copy(
        f / "checkpoints/round-000002.safetensors", f / "checkpoints/round-000003.safetensors"
    ),
    "a turned bit of the last round's rows": lambda f: turn(f / "tables.journal", frames_of(f)[1] - 9),
    "the last round's rows cut off": lambda f: (f / "tables.journal").write_bytes(
        (f / "tables.journal").read_bytes()[: frames_of(f)[1] - 1]
    ),
}


@pytest.mark.parametrize("case", DAMAGE_OF_THE_NEWEST)
def test_damage_of_the_newest_generation_costs_a_round_and_says_so_in_one_line(case, runs, stopped):
    DAMAGE_OF_THE_NEWEST[case](stopped)
    swapped = case == "the one before in its place"  # then the file says itself which round it is of
    assert codes(stopped) == (0 if swapped else 1)
    teller = Stopper()

    assert bits(resume(stopped, teller).folder) == bits(runs[0])

    told = [line for line in teller.notes if "going on from" in line]
    assert told == read_manifest(stopped).get("notes", [])
    assert len(told) == (0 if swapped else 1)
    assert all("\n" not in line and line.endswith("going on from round-000002") for line in told)


DAMAGE_OF_ALL = {
    "a turned bit in the first rows": lambda f, _: turn(f / "tables.journal", 60),
    "another run's rows": lambda f, other: shutil.copy(other / "tables.journal", f / "tables.journal"),
    "no rows at all": lambda f, _: (f / "tables.journal").unlink(),
    "rows cut off before the older checkpoint": lambda f, _: (f / "tables.journal").write_bytes(
        (f / "tables.journal").read_bytes()[: frames_of(f)[0] - 1]
    ),
    "another run's checkpoints": lambda f, other: [
        shutil.copy(p, f / "checkpoints" / p.name) for p in (other / "checkpoints").iterdir()
    ],
}


@pytest.mark.parametrize("case", DAMAGE_OF_ALL)
def test_where_no_generation_is_whole_the_run_is_refused_and_nothing_changes(case, tiny, stopped, tmp_path):
    other = tiny(checkpoint={"every": 1}, seed=7)
    DAMAGE_OF_ALL[case](stopped, stop(other, tmp_path / "other", 3))
    before = {p: p.read_bytes() for p in stopped.rglob("*") if p.is_file()}

    with pytest.raises(
        GauntletError, match=r"^[^\n]*; delete [^\n]*checkpoints to run it again from round 0$"
    ):
        resume(stopped)
    assert {p: p.read_bytes() for p in stopped.rglob("*") if p.is_file()} == before
    assert codes(stopped) == 2


def test_a_lost_journal_is_named(stopped):
    """Not a table, which a run that goes on does not have."""
    (stopped / "tables.journal").unlink()

    with pytest.raises(ResultsError, match=r"^\S+/tables\.journal cannot be read: No such file"):
        resume(stopped)
    assert {Path(one.words.split()[0]).name for one in verify(stopped)} == {"tables.journal"}


def test_the_way_out_that_is_named_is_one(runs, stopped):
    (stopped / "tables.journal").unlink()
    shutil.rmtree(stopped / "checkpoints")

    assert bits(resume(stopped).folder) == bits(runs[0])


@pytest.mark.parametrize("content", [None, b"", b"torn", b"x" * 500])
def test_times_that_are_lost_or_damaged_stop_nothing(content, runs, stopped):
    path = stopped / "timings.journal"
    path.unlink() if content is None else path.write_bytes(content)

    run = resume(stopped)

    assert bits(run.folder) == bits(runs[0])
    assert run.timings["round"].tolist() == [3]


def test_times_of_rounds_that_are_kept_are_kept(stopped):
    before = load_run(stopped).timings

    after = resume(stopped).timings
    assert after["round"].tolist() == [0, 1, 2, 3]
    pd.testing.assert_frame_equal(after[:3], before[:3])


def test_the_tables_of_a_run_that_goes_on_are_read_and_damage_is_named(runs, stopped):
    whole = load_run(runs[0])
    run = load_run(stopped)
    pd.testing.assert_frame_equal(run.rounds, whole.rounds[:3])
    pd.testing.assert_frame_equal(run.clients, whole.clients[whole.clients["round"] < 3])
    assert len(run.outputs) == 0

    turn(stopped / "tables.journal", 99)
    with pytest.raises(ResultsError, match=r"tables.journal is damaged at byte"):
        _ = load_run(stopped).rounds


@pytest.mark.parametrize("name", ["rounds", "clients"])
def test_a_table_of_a_finished_run_is_what_the_run_wrote_or_refused(name, runs, tmp_path, tiny):
    """One turned bit, and another run's table, which reads well."""
    folder = Path(shutil.copytree(runs[0], tmp_path / "run"))
    assert codes(folder) == 0
    turn(folder / f"{name}.parquet", 40)
    with pytest.raises(ResultsError, match=f"{name}.parquet is damaged: it is not what the run wrote"):
        getattr(load_run(folder), name)
    shutil.copy(simulate(tiny(), tmp_path / "other").folder / f"{name}.parquet", folder)
    with pytest.raises(ResultsError, match="is not what the run wrote"):
        getattr(load_run(folder), name)
    assert codes(folder) == 2


# ---- schema 1 --------------------------------------------------------------------------------------------


@pytest.fixture
def begun(tmp_path):
    """A run of 4 rounds that the version before began, and stopped with checkpoints of rounds 1 and 2."""
    return Path(shutil.copytree(SCHEMA_1 / "begun", tmp_path / "begun"))


def test_a_run_that_the_version_before_began_is_read_and_drawn(begun):
    run = load_run(begun)

    assert run.manifest["schema"] == 1
    assert run.rounds["round"].tolist() == [0, 1]
    assert run.plot("accuracy").axes
    assert codes(begun) == 0


def test_a_run_that_the_version_before_began_ends_as_it_would_have_there(begun):
    """Expected: the same scenario's whole run by that version. Other processors may round otherwise."""
    run = resume(begun)

    there = pd.read_parquet(SCHEMA_1 / "whole" / "clients.parquet")
    for name in ("round", "client_id", "num_examples", "bytes_up", "status"):
        assert run.clients[name].tolist() == there[name].tolist(), name
    np.testing.assert_allclose(run.clients["update_norm"], there["update_norm"], rtol=1e-4)
    rounds = pd.read_parquet(SCHEMA_1 / "whole" / "rounds.parquet")
    np.testing.assert_allclose(run.rounds["loss"], rounds["loss"], rtol=1e-4)
    scores = pd.read_parquet(SCHEMA_1 / "whole" / "audit.parquet")
    np.testing.assert_allclose(pd.read_parquet(begun / "audit.parquet")["score"], scores["score"], atol=1e-5)
    last = load_file(SCHEMA_1 / "whole" / "round-000004.safetensors")["s.1"]
    ours = load_file(begun / "checkpoints" / "round-000004.safetensors")["s.1"]
    np.testing.assert_allclose(ours.numpy(), last.numpy(), atol=1e-5)
    assert (run.manifest["schema"], codes(begun)) == (2, 0)


def test_a_run_of_the_version_before_that_stops_again_goes_on_again(begun):
    with pytest.raises(Stop):
        resume(begun, Stopper(3))
    (begun / "timings.parquet").unlink()
    assert load_run(begun).rounds["round"].tolist() == [0, 1, 2]

    assert resume(begun).rounds["round"].tolist() == [0, 1, 2, 3]


def test_rows_that_the_version_before_lost_are_missed(begun):
    (begun / "timings.parquet").unlink()
    (begun / "clients.parquet").unlink()
    with pytest.raises(ResultsError, match=r"clients.parquet cannot be read"):
        resume(begun)


def test_a_table_that_a_run_of_the_version_before_lost_is_named_once(begun):
    (begun / "clients.parquet").unlink()

    with pytest.raises(
        ResultsError, match=r"^\S+/clients\.parquet cannot be read: it is not there; no checkpoint"
    ):
        resume(begun)


def test_a_complete_run_of_the_version_before_is_whole(tmp_path, tiny):
    folder = simulate(tiny(), tmp_path / "run").folder
    manifest = json.loads((folder / "manifest.json").read_text())
    old = {key: value for key, value in manifest.items() if key != "files"} | {"schema": 1}
    (folder / "manifest.json").write_text(json.dumps(old))

    assert codes(folder) == 0
    assert load_run(folder).rounds["round"].tolist() == [0, 1, 2, 3]
    (folder / "clients.parquet").write_bytes(b"torn")
    assert codes(folder) == 2


def test_a_scenario_key_that_came_later_takes_its_default(stopped, runs):
    """As a version wrote it that did not have the key: fingerprint and checkpoints are its own."""
    from gauntlet.server.checkpoint import checkpoints, read_checkpoint, save_checkpoint
    from gauntlet.sims.scenario import fingerprint

    manifest = json.loads((stopped / "manifest.json").read_text())
    begun = manifest["fingerprint"]
    del manifest["scenario"]["root_examples"]
    manifest["fingerprint"] = fingerprint(manifest["scenario"], manifest["code"])
    assert manifest["fingerprint"] != begun
    for kept in [read_checkpoint(path, begun) for path in checkpoints(stopped / "checkpoints")]:
        save_checkpoint(stopped / "checkpoints", kept.state, manifest["fingerprint"], kept.beside)
    (stopped / "manifest.json").write_text(json.dumps(manifest))

    run = resume(stopped)
    pd.testing.assert_frame_equal(run.rounds, load_run(runs[0]).rounds)


@pytest.mark.parametrize(
    ("field", "words"),
    [("params", "holds 3 params, the model has 160"), ("clients", "client 4 remembers 3 numbers, .* has 0")],
)
def test_a_checkpoint_of_another_model_or_memory_is_refused(stopped, field, words):
    from dataclasses import replace

    import torch

    from gauntlet.server.checkpoint import checkpoints, read_checkpoint, save_checkpoint

    begun = read_manifest(stopped)["fingerprint"]
    for kept in [read_checkpoint(path, begun) for path in checkpoints(stopped / "checkpoints")]:
        wrong = {"params": torch.zeros(3)} if field == "params" else {"clients": {4: torch.zeros(3)}}
        other = replace(kept.state, **wrong, counted={4: 0})
        save_checkpoint(stopped / "checkpoints", other, begun, kept.beside)
    with pytest.raises(CheckpointError, match=words):
        resume(stopped)
