"""Tables of one's own from end to end: who the clients are, and from a row to the model's input."""

import numpy as np
import pandas as pd
import pytest
import torch

from gauntlet.clients.data.column import Column
from gauntlet.core.errors import DataError, ResultsError, ScenarioError
from gauntlet.sims.drawing import draw_all
from gauntlet.sims.matrix import plan_matrix
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import Scenario
from gauntlet.sims.sweep import variants


@pytest.fixture
def table(tmp_path):
    """60 people of three towns; some ages are not known."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, 60),
            "seen": [f"2024-01-{n % 28 + 1:02}" for n in range(60)],
            "floor": rng.choice(["1.0", "2.0"], 60),
            "job": rng.choice(["smith", "nurse"], 60),
            "town": np.repeat(["x", "y", "z"], 20),
            "ill": rng.choice(["no", "yes"], 60),
        }
    )
    frame = frame.astype(str)
    frame.loc[:5, "age"] = "NA"
    frame.loc[6:9, "job"] = "?"
    frame.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


def scenario(table, **changes):
    data = {
        "name": "csv",
        "path": str(table),
        "label": "ill",
        "client": "town",
        "test_path": str(table),
        "dates": ["seen"],
        "categories": {"floor": []},
        "missing": ["?"],
    }
    values = {
        "rounds": 1,
        "data": data,
        "partition": "natural",
        "model": "logistic_regression",
        "training": {"local_steps": 1, "batch_size": 8, "lr": 0.1},
        "runtime": {"pool": "serial"},
    }
    return Scenario(**{**values, **changes})


def test_natural_clients_are_counted_where_no_number_is_given(table, tmp_path):
    for named in (scenario(table), scenario(table, num_clients="natural")):
        assert named.num_clients == "natural"
        assert named.run_spec().num_clients == 3
    run = simulate(scenario(table), tmp_path / "run")
    given = scenario(table, num_clients=3)
    assert run.manifest["scenario"]["num_clients"] == 3
    assert run.manifest["fingerprint"] == given.fingerprint()
    assert [v.scenario.num_clients for v in variants(scenario(table, sweep={"seed": [0, 1]}))] == [3, 3]
    crossed = {"attacks": ["sign_flip"], "defenses": ["mean"], "shares": [0.4]}
    _, planned = plan_matrix(scenario(table, matrix=crossed))
    assert {one.scenario.num_clients for one in planned} == {3}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"partition": "iid", "num_clients": "natural"}, "goes with partition = 'natural', and it is Iid"),
        ({"partition": "iid"}, "key 'num_clients' is required"),
        ({"data": "digits"}, "digits cannot be partitioned: natural needs a dataset with natural clients"),
        ({"num_clients": 4}, "num_clients must be 3, the number of natural clients, or 'natural', got 4"),
        ({"num_clients": 0}, "'num_clients' is 0: it must be a whole number, at least 1, or 'natural'"),
        ({"num_clients": "many"}, "'num_clients' is 'many': it must be a whole number"),
        ({"num_clients": True}, "'num_clients' is True: it must be a whole number"),
    ],
)
def test_clients_that_cannot_be_counted_are_refused(table, tmp_path, changes, message):
    with pytest.raises(ScenarioError, match=message):
        simulate(scenario(table, **changes), tmp_path / "run")


def test_a_row_becomes_what_the_run_made_of_it(table, tmp_path):
    """The run's own rows are the oracle: what the data set holds of them."""
    run = simulate(scenario(table), tmp_path / "run")
    expected = torch.from_numpy(scenario(table).run_spec() and _inputs(table))

    from_file = run.encode(pd.read_csv(table))  # ages float with NaN, floors 1.0, "?" as it stands
    as_words = run.encode(pd.read_csv(table, dtype=str, keep_default_na=False).to_dict("list"))

    assert torch.equal(from_file, expected)
    assert torch.equal(as_words, expected)
    assert run.features == ("age", "seen", "floor=1.0", "floor=2.0", "job=nurse", "job=smith")
    assert run.model()(from_file).shape == (60, 2)
    row = run.encode({"age": [None], "seen": [pd.Timestamp("2024-01-02")], "floor": [2], "job": ["pilot"]})
    assert row[0, [0, 2, 3, 4, 5]].tolist() == [0, 0, 1, 0, 0]
    assert row[0, 1] == from_file[1, 1]


def _inputs(table):
    from gauntlet.clients.data import DATASETS

    data = scenario(table).data.spec()
    return DATASETS.build(data.name, data.options).load().x


def test_what_cannot_be_encoded_is_refused_in_one_line(table, tmp_path):
    run = simulate(scenario(table), tmp_path / "run")
    with pytest.raises(ScenarioError, match="unknown column of the run 'job'"):
        run.encode({"age": [3], "seen": ["2024-01-01"], "floor": [1]})
    with pytest.raises(DataError, match="column 'age' holds numbers, and also 'old'"):
        run.encode({"age": ["old"], "seen": ["2024-01-01"], "floor": [1], "job": ["smith"]})
    with pytest.raises(ScenarioError, match="rows must be a DataFrame, or lists by column"):
        run.encode([1, 2])
    plain = simulate(scenario(table, data="digits", partition="iid", num_clients=2), tmp_path / "digits")
    assert plain.features == ()
    with pytest.raises(ResultsError, match="keeps no columns"):
        plain.encode({"a": [1]})


def test_a_column_of_very_many_words_is_a_warning_of_the_run(tmp_path):
    frame = pd.DataFrame({"key": [f"k{n}" for n in range(60)], "c": ["x", "y"] * 30})
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = {
        "name": "csv",
        "path": str(tmp_path / "t.csv"),
        "label": "c",
        "test_path": str(tmp_path / "t.csv"),
    }
    run = simulate(scenario(None, data=data, partition="iid", num_clients=2), tmp_path / "run")
    (note,) = run.manifest["notes"]
    assert note.startswith("column 'key' is a category of 60 different words")


def test_what_is_rebuilt_of_a_table_is_read_in_its_names_and_units(table, tmp_path):
    """One example and one step behind a bias: its row comes back, 0 dB of error to a digit."""
    training = {"local_steps": 1, "batch_size": 1, "lr": 0.1}
    run = simulate(scenario(table, training=training, probes=["bias_trick"]), tmp_path / "run")
    (item,) = run.gallery()

    rows = item.table()

    true, made = rows.xs("true", level="row"), rows.xs("rebuilt", level="row")
    assert list(rows.columns) == ["age", "seen", "floor", "job"]
    assert made.equals(true)
    written = pd.read_csv(table, dtype=str, keep_default_na=False)
    mean = written.age[written.age != "NA"].astype(int).mean()
    written["age"] = written.age.replace("NA", f"{mean:.6g}")
    written["job"] = written.job.replace("?", "")
    assert true.iloc[0].tolist() in written[["age", "seen", "floor", "job"]].values.tolist()
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert f">{true.seen.iloc[0]}</td>" in page
    assert "in the units of the table" in page
    assert (
        ".rebuilt.rows { width: 100%; }" in page
    )  # or a table that scrolls has no width in a row of figures
    assert "data:image" not in page.partition('id="leakage"')[2].partition("</section>")[0]
    pictures = simulate(
        scenario(
            table, data="digits", partition="iid", num_clients=2, training=training, probes=["bias_trick"]
        ),
        tmp_path / "digits",
    )
    assert pictures.gallery()[0].table() is None


def test_rebuilt_rows_stand_beside_the_pictures(table, tmp_path):
    training = {"local_steps": 1, "batch_size": 1, "lr": 0.1}
    run = simulate(scenario(table, training=training, probes=["bias_trick"]), tmp_path / "run")
    draw_all([run], tmp_path / "plots")

    found = pd.read_csv(tmp_path / "plots/rebuilt_rows.csv", dtype=str, keep_default_na=False)

    heads = ["run", "seed", "attack", "round", "client", "example", "row", "age", "seen", "floor", "job"]
    assert list(found.columns) == heads
    assert found.iloc[:, 7:].values.tolist() == run.gallery()[0].table().values.tolist()
    assert found.attack.tolist() == ["bias_trick", "bias_trick"]
    assert found.row.tolist() == ["true", "rebuilt"]


def test_features_are_read_back_as_cells():
    """By hand: 2 * 10 + 50 = 70; day 19 358 is 1 January 2023, and half a day later noon."""
    number = Column("a", "number", (), 50.0, 10.0)
    date = Column("b", "date", (), 19358.0, 1.0)
    category = Column("c", "category", ("x", "y"))
    assert number.cells(np.array([[2.0], [-0.05]])) == ["70", "49.5"]
    assert date.cells(np.array([[0.0], [0.5], [1e9]])) == [
        "2023-01-01",
        "2023-01-01 12:00",
        "day 1.00002e+09",
    ]
    assert category.cells(np.array([[0.1, 0.9], [0.3, 0.2]])) == ["y", ""]
