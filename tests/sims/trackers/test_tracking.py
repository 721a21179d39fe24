"""Runs that are tracked: the tool's numbers are the tables', a resumed run goes on, a fault ends nothing.

Oracles: TensorBoard's and MLflow's own readers, and the messages of Weights & Biases' protocol.
The tests of a tool skip where it is not installed.
"""

import json
import struct

import pytest

import gauntlet as package
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.sims.families import checks, family
from gauntlet.sims.trackers.mlflow import MLflow
from gauntlet.sims.tracking import numbers_of
from gauntlet.sims.verify import told, verify

RECORDER = '''
"""A tracker of a file: one line a round."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Lines:
    """Lines in a file of its own."""

    broken: str = ""

    def open(self, run):
        if self.broken == "open":
            raise OSError("no such server")
        return Session(run.place / "lines.txt", run.done, self.broken)


@dataclass
class Session:
    path: object
    done: int
    broken: str

    def rounds(self, rows):
        if self.broken == "rounds":
            raise RuntimeError("the line is dead")
        if self.broken == "exit":
            raise SystemExit(0)
        with self.path.open("a") as file:
            for round_, numbers in rows:
                file.write(f"{round_} {numbers['accuracy']}\\n")
                self.done = round_ + 1

    def finish(self, summary, pictures, tables):
        if self.broken == "finish":
            raise RuntimeError("too late")
        with self.path.open("a") as file:
            file.write(f"end {summary['accuracy']} {sorted(pictures)} {'rounds' in tables}\\n")

    def close(self):
        with self.path.with_name("closed").open("a") as file:
            file.write("closed\\n")
'''


@pytest.fixture
def lines(tmp_path):
    """The name of a tracker that writes lines."""
    (tmp_path / "lines.py").write_text(RECORDER)
    return f"{tmp_path}/lines.py:Lines"


def stop(row):
    if row["round"] == 2:
        raise RuntimeError("enough")


@pytest.mark.parametrize("name", family("trackers").table)
def test_every_tracker_keeps_its_contract(name):
    for check in checks("trackers"):
        check(family("trackers").build(name))


def test_each_round_is_handed_over_once_also_over_a_stop(tiny, tmp_path, lines):
    """Rounds are handed over with the checkpoint that holds them: 0 and 1 before the stop, 2 and 3 after."""
    folder = tmp_path / "run"
    with pytest.raises(PluginError, match="enough"):
        package.simulate(tiny(track=lines), folder, callbacks=[stop])
    said = folder / "tracking" / "Lines" / "lines.txt"
    assert [line.split()[0] for line in said.read_text().splitlines()] == ["0", "1"]
    run = package.resume(folder)

    rows = [line.split(maxsplit=1) for line in said.read_text().splitlines()]
    assert [float(value) for _, value in rows[:-1]] == run.rounds["accuracy"].tolist()
    assert rows[-1][0] == "end"
    assert "'summary'" in rows[-1][1]
    assert rows[-1][1].endswith("True")
    assert told(folder, verify(folder))[1] == 0


def test_what_an_earlier_process_had_no_time_for_is_handed_over(tiny, tmp_path, lines):
    """As if it had died between its checkpoint and the tool."""
    folder = tmp_path / "run"
    with pytest.raises(PluginError, match="enough"):
        package.simulate(tiny(track=lines), folder, callbacks=[stop])
    said = folder / "tracking" / "Lines" / "lines.txt"
    said.unlink()
    for mark in (folder / "tracking").glob("*.json"):
        mark.unlink()
    package.resume(folder)

    assert [line.split()[0] for line in said.read_text().splitlines()] == ["0", "1", "2", "3", "end"]


def test_of_what_an_earlier_process_handed_over_nothing_comes_twice(tiny, tmp_path, lines):
    """As if it had died after one of the two rounds of its checkpoint."""
    folder = tmp_path / "run"
    with pytest.raises(PluginError, match="enough"):
        package.simulate(tiny(track=lines), folder, callbacks=[stop])
    said = folder / "tracking" / "Lines" / "lines.txt"
    said.write_text(said.read_text().splitlines(keepends=True)[0])
    (mark,) = (folder / "tracking").glob("*.json")
    mark.write_text('{"done": 1}')
    package.resume(folder)

    assert [line.split()[0] for line in said.read_text().splitlines()] == ["0", "1", "2", "3", "end"]


@pytest.mark.parametrize("broken", ["open", "rounds", "exit", "finish"])
def test_a_tracker_that_fails_is_one_line_and_the_run_has_the_same_bits(tiny, tmp_path, lines, broken):
    run = package.simulate(tiny(track={"name": lines, "broken": broken}), tmp_path / "run")
    plain = package.simulate(tiny(), tmp_path / "plain")

    assert run.manifest["status"] == "complete"
    (note,) = run.manifest["notes"]
    assert note.startswith("warning: track '")
    assert "goes on without it" in note
    assert run.rounds.equals(plain.rounds)
    assert run.manifest["fingerprint"] == plain.manifest["fingerprint"]
    closed = run.folder / "tracking" / "Lines" / "closed"
    assert (closed.read_text() == "closed\n") if broken != "open" else not closed.exists()


def test_what_is_not_there_is_refused_before_anything_is_written(tiny, tmp_path):
    with pytest.raises(PluginError, match="did you mean 'tensorboard'"):
        package.simulate(tiny(track="tensorbord"), tmp_path / "run")
    missing = [name for name in ("wandb", "mlflow", "tensorboard") if not installed(name)]
    for name in missing:
        with pytest.raises(ScenarioError, match=rf"track '{name}' needs {name}.*gauntlet-fl\[{name}\]"):
            package.simulate(tiny(track=name), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def installed(name):
    from importlib.util import find_spec

    return find_spec(name) is not None


def test_a_folder_of_others_sends_its_numbers_nowhere(tiny, tmp_path, lines, monkeypatch):
    folder = tmp_path / "run"
    with pytest.raises(PluginError, match="enough"):
        package.simulate(tiny(track=lines), folder, callbacks=[stop])
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "somebody"))
    run = package.resume(folder)

    said = (folder / "tracking" / "Lines" / "lines.txt").read_text()
    assert run.manifest["status"] == "complete"
    assert len(said.splitlines()) == 2


@pytest.mark.slow
def test_tensorboard_reads_back_what_the_tables_hold(tiny, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.util import tensor_util

    folder = tmp_path / "run"
    scenario = tiny(track="tensorboard", probes=[{"name": "dlg", "max_iterations": 1}])
    with pytest.raises(PluginError, match="enough"):
        package.simulate(scenario, folder, callbacks=[stop])
    run = package.resume(folder)
    found = events.EventAccumulator(str(folder / "tracking" / "tensorboard"), size_guidance={"tensors": 0})
    found.Reload()

    for row in run.rounds.to_dict("records"):
        for name, value in numbers_of(row).items():
            told = [e for e in found.Tensors(name) if e.step == row["round"]]
            assert [float(tensor_util.make_ndarray(e.tensor_proto)) for e in told] == [value], name
    assert {"summary", "reconstructions"} <= set(found.Tags()["images"])
    assert "end/accuracy" in found.Tags()["tensors"]


@pytest.mark.slow
def test_a_password_would_stand_in_the_results():
    with pytest.raises(ValueError, match="uri must hold no password"):
        MLflow(uri="postgresql://user:secret@host/runs")
    assert MLflow(uri="https://user@host/runs").uri


def test_mlflow_reads_back_what_the_tables_hold(tiny, tmp_path):
    tracking = pytest.importorskip("mlflow.tracking")
    folder = tmp_path / "run"
    with pytest.raises(PluginError, match="enough"):
        package.simulate(tiny(track="mlflow"), folder, callbacks=[stop])
    run = package.resume(folder)
    client = tracking.MlflowClient(tracking_uri=f"sqlite:///{folder}/tracking/mlflow/mlflow.db")
    (same,) = client.search_runs([client.get_experiment_by_name("gauntlet").experiment_id])

    assert same.info.status == "FINISHED"
    assert same.data.params["model"] == "mlp"
    for name in numbers_of(run.rounds.iloc[0].to_dict()):
        history = sorted(client.get_metric_history(same.info.run_id, name), key=lambda m: m.step)
        assert [m.value for m in history] == run.rounds[name].tolist(), name
    kept = {f.path for kind in ("pictures", "tables") for f in client.list_artifacts(same.info.run_id, kind)}
    assert {"pictures/summary.png", "tables/rounds.parquet"} <= kept


def records(content):
    """Yield the records of a ``.wandb`` file: LevelDB's log format after seven bytes, blocks of 32 KiB."""
    place, parts = 7, b""
    while place + 7 <= len(content):
        if (left := 2**15 - place % 2**15) < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def test_weights_and_biases_files_hold_what_the_tables_hold(tiny, tmp_path, monkeypatch):
    """Offline, over a stop: two files of one run's id, each round once."""
    messages = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    monkeypatch.setenv("WANDB_SILENT", "true")
    folder = tmp_path / "run"
    with pytest.raises(PluginError, match="enough"):
        package.simulate(
            tiny(track={"name": "wandb", "folder": str(tmp_path / "w")}), folder, callbacks=[stop]
        )
    run = package.resume(folder)
    told, names = {}, set()
    for path in sorted((tmp_path / "w").rglob("*.wandb")):
        for content in records(path.read_bytes()):
            record = messages.Record.FromString(content)
            names |= {record.run.run_id} if record.HasField("run") else set()
            if record.HasField("history"):
                items = {i.key or ".".join(i.nested_key): i.value_json for i in record.history.item}
                told.setdefault(record.history.step.num, []).append(items)

    assert len(names) == 1
    assert sorted(told) == run.rounds["round"].tolist()
    for row in run.rounds.to_dict("records"):
        (items,) = told[row["round"]]
        for name, value in numbers_of(row).items():
            assert float(json.loads(items[name])) == value, name
