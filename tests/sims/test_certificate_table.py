"""What a defense certifies, as a table of the results."""

import pandas as pd
import pytest

from gauntlet.sims.records import CERTIFICATES
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import make_scenario
from gauntlet.sims.verify import verify


def scenario(defense):
    return make_scenario(
        {
            "name": "certified",
            "rounds": 4,
            "num_clients": 6,
            "data": "digits",
            "model": "logistic_regression",
            "training": {"local_steps": 2, "batch_size": 8, "lr": 0.1},
            "evaluation": {"every": 2},
            "defense": defense,
            "runtime": {"pool": "serial"},
        }
    )


def test_the_table_has_a_row_a_column_and_evaluated_round(tmp_path):
    """By hand: reach = 1 * 1 * 0.3 / 6 = 0.05, but for what float32 may add."""
    defense = {"name": "parameter_certificate", "clip_norm": 0.3, "num_byzantine": 1}
    run = simulate(scenario(defense), tmp_path / "run")
    table = pd.read_parquet(tmp_path / "run" / "certificates.parquet")
    assert list(table) == CERTIFICATES.names
    assert table[["round", "name"]].values.tolist() == [
        [round_, name] for round_ in (1, 3) for name in ("radius", "reach", "certified")
    ]
    assert table["mean"][1] == pytest.approx(0.05, rel=2e-5)
    assert pd.isna(table["right"][1])
    assert run.certificates.equals(table)
    accuracy = run.rounds["accuracy"].dropna().tolist()
    certified = table[table["name"] == "certified"]["right"].tolist()
    assert all(0 <= sure <= right for sure, right in zip(certified, accuracy, strict=True))
    assert not [f for f in verify(tmp_path / "run") if f.code]


def test_a_run_that_certifies_nothing_has_no_such_table(tmp_path):
    run = simulate(scenario("mean"), tmp_path / "run")
    assert run.certificates is None
    assert not (tmp_path / "run" / "certificates.parquet").exists()
