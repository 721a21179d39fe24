"""The table of work against durations that are written down, and against the other tables."""

import numpy as np
import pandas as pd

from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import make_scenario


def scenario(**changes):
    return make_scenario(
        {
            "name": "work",
            "rounds": 2,
            "num_clients": 3,
            "data": "digits",
            "model": "logistic_regression",
            "training": {"local_steps": 1, "batch_size": 8, "lr": 0.1},
            "defense": {"name": "mean", "weighting": "uniform"},
            "runtime": {"pool": "serial"},
            **changes,
        }
    )


SCRIPT = {"name": "script", "seconds": [[3.0, 1.0, 2.0]], "repeat": True}


def test_who_gives_up_has_worked_until_the_round_was_over(tmp_path):
    """Durations 3, 1, 2, of which two count: 2 s of the first client are for nothing, in each round."""
    run = simulate(scenario(network=SCRIPT, schedule={"name": "over_select", "goal": 2}), tmp_path / "run")
    work = run.work
    assert work[["round", "client_id", "started", "staleness"]].to_numpy().tolist() == [
        [r, i, r, 0] for r in (0, 1) for i in range(3)
    ]
    assert work["begins"].tolist() == [0.0] * 3 + [2.0] * 3
    assert work["work_seconds"].tolist() == [2.0, 1.0, 2.0] * 2
    assert work["counted"].tolist() == [False, True, True] * 2
    assert (run.folder / "work.parquet").is_file()


def test_a_run_that_waits_for_everybody_has_no_such_table(tmp_path):
    run = simulate(scenario(network=SCRIPT), tmp_path / "run")
    assert run.work is None


def test_staleness_and_status_are_those_of_the_other_tables(tmp_path):
    heavy = {"name": "links", "latency_seconds": 1.0, "jitter": 1.0, "dropout": 0.2}
    schedule = {"name": "buffered", "buffer_size": 2, "concurrency": 5}
    run = simulate(
        scenario(network=heavy, schedule=schedule, num_clients=6, rounds=12,
                 attacks=[{"name": "non_finite", "clients": [2]}]), tmp_path / "run"
    )  # fmt: skip
    work, clients = run.work, run.clients
    assert (work["counted"] == (clients["status"] == "ok")).all()
    assert {"ok", "dropped", "non_finite"} == set(clients["status"])
    told = run.scores[run.scores["name"] == "staleness"].set_index(["round", "client_id"])["value"]
    stale = work[work["staleness"] > 0].set_index(["round", "client_id"])["staleness"]
    assert stale.to_dict() == told.to_dict()
    assert len(stale) > 3
    ends = work["begins"] + work["work_seconds"]
    clock = pd.Series(run.rounds["virtual_seconds"].to_numpy())
    assert (ends <= work["round"].map(clock) + 1e-9).all()
    before = work["started"].map(lambda r: 0.0 if r == 0 else clock[r - 1])
    assert (work["begins"] >= before - 1e-9).all()
    taken = np.isfinite(clients["client_seconds"]) & work["counted"]
    assert np.allclose(work["work_seconds"][taken], clients["client_seconds"][taken])
