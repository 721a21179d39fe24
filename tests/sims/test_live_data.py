"""Arrays and DataFrames of a notebook as data. Oracle: the same in a file."""

import numpy as np
import pandas as pd
import pytest
import torch

import gauntlet
from gauntlet.core import live
from gauntlet.core.errors import GauntletError

RUN = {
    "rounds": 2,
    "num_clients": 4,
    "model": "logistic_regression",
    "training": {"local_steps": 1, "lr": 0.1, "batch_size": 8},
    "runtime": {"pool": "serial"},
}


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return rng.random((200, 8)).astype("float32"), rng.integers(0, 3, 200)


def rounds(out, **keywords):
    return gauntlet.simulate(gauntlet.Scenario(**RUN | keywords), out).rounds


def test_arrays_are_as_their_file(arrays, tmp_path):
    x, y = arrays
    np.savez(tmp_path / "a.npz", x=x, y=y)
    stored = rounds(tmp_path / "file", data={"name": "npz", "path": str(tmp_path / "a.npz")})
    kinds = {
        "numpy": (x, y),
        "torch": (torch.from_numpy(x), torch.from_numpy(y)),
        "pandas": (pd.DataFrame(x), pd.Series(y)),
        "named": {"name": (x, y)},
        "npz": {"name": "npz", "x": x, "y": y},
        "alone": {"x": x, "y": y},
    }
    for name, data in kinds.items():
        found = rounds(tmp_path / name, data=data)
        assert found.equals(stored), name


def test_options_stand_beside_arrays(arrays, tmp_path):
    x, y = arrays
    owners = np.repeat([3, 1, 2, 0, 4], 40)
    data = {"x": x, "y": y, "client": owners, "test_x": x[:50], "test_y": y[:50], "num_classes": 5}
    scenario = gauntlet.Scenario(**RUN | {"data": data, "partition": "natural", "num_clients": "natural"})
    run = gauntlet.simulate(scenario, tmp_path / "run")
    assert run.manifest["scenario"]["num_clients"] == 5
    assert run.model()(torch.zeros(1, 8)).shape == (1, 5)


def test_what_changes_an_array_later_changes_no_run(arrays, tmp_path):
    x, y = arrays[0] + 1, arrays[1]  # arrays that no other test has handed over
    scenario = gauntlet.Scenario(**RUN | {"data": (x, y)})
    before = gauntlet.simulate(scenario, tmp_path / "before").rounds
    x[:] = 0
    assert gauntlet.simulate(scenario, tmp_path / "after").rounds.equals(before)
    assert gauntlet.Scenario(**RUN | {"data": (x, y)}).fingerprint() != scenario.fingerprint()


def test_a_data_frame_is_as_its_file(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": [None, *range(20, 79)],
            "job": rng.choice(["a", "b"], 60),
            "ill": rng.choice([True, False], 60),
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    options = {"label": "ill", "test_share": 0.3}
    stored = rounds(tmp_path / "file", data={"name": "csv", "path": str(tmp_path / "t.csv"), **options})
    scenario = gauntlet.Scenario(**RUN | {"data": {"name": frame, **options}})

    run = gauntlet.simulate(scenario, tmp_path / "frame")

    assert run.rounds.equals(stored)
    assert run.features == ("age", "job=a", "job=b")
    assert run.encode(frame).shape == (60, 3)
    other = gauntlet.Scenario(**RUN | {"data": {"name": "csv", "path": frame, **options}})
    assert other.fingerprint() == scenario.fingerprint()


def test_a_resumed_run_wants_the_same_data(arrays, tmp_path, monkeypatch):
    def stop(row):
        raise RuntimeError("enough")

    x, y = arrays
    frame = pd.DataFrame(x, columns=[f"c{n}" for n in range(8)]).assign(y=y)
    handed = {
        "pair": ((x, y), (x, y)),
        "named": ({"x": x, "y": y, "num_classes": 3}, {"x": x, "y": y}),
        "frame": ({"name": frame, "label": "y"}, frame),
    }
    for name, (data, again) in handed.items():
        with pytest.raises(GauntletError, match="enough"):
            gauntlet.simulate(gauntlet.Scenario(**RUN | {"data": data}), tmp_path / name, callbacks=[stop])
        monkeypatch.setattr(live, "_held", {})  # as in another process
        with pytest.raises(GauntletError, match="is an object of a Python process"):
            gauntlet.resume(tmp_path / name, objects=[(x + 1, y)])
        assert len(gauntlet.resume(tmp_path / name, objects=[again]).rounds) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pd.DataFrame({"a": [1, 2]}), "a DataFrame needs its label: data={'name': frame, 'label'"),
        ((np.ones((4, 2)), [0, 1, 0, 1]), "arrays [(]x, y[)], got 'tuple' of ndarray, list"),
        ((np.ones((4, 2)),), "arrays [(]x, y[)], got 'tuple' of ndarray"),
        ({"name": "csv", "x": np.ones((4, 2)), "y": np.ones(4)}, "arrays [(]x, y[)] go with 'npz'"),
        ((np.ones((4, 2)), np.array(["a", "b"] * 2)), "y must be integers or real numbers"),
        ((np.array([["a"], ["b"]]), np.array([0, 1])), "x must be numbers, got <U1"),
        ({"x": np.ones((4, 2))}, "has no array y; it has x"),
        ({"name": pd.DataFrame({"a": [1, 2]}), "label": "b"}, "unknown column of the DataFrame 'b'"),
        (
            {"name": pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, "y"]}), "label": "b"},
            "row 1: a row has no label",
        ),
        ({"name": pd.DataFrame([[1, 2]], columns=["a", "a"]), "label": "a"}, "column 'a' stands there twice"),
        ({"name": "csv", "path": "live:Arrays-0123456789abcdef", "label": "a"}, "is an object of a Python"),
    ],
)
def test_what_is_no_data_is_refused_in_one_line(tmp_path, data, message):
    with pytest.raises(GauntletError, match=message) as caught:
        rounds(tmp_path / "run", data=data)
    assert "\n" not in str(caught.value)
