"""What clients state beside their messages, in result folders."""

import json

import pandas as pd
import pytest
from outsiders import bits, killed

from gauntlet.server.recording.replays import load_observation
from gauntlet.sims.run import resume, simulate
from gauntlet.sims.scenario import make_scenario

NOVA = {"name": "fednova", "partial": 0.5, "server_momentum": 0.5}


def scenario(**changes):
    return {
        "name": "facts",
        "rounds": 3,
        "num_clients": 6,
        "data": "digits",
        "model": {"name": "mlp", "hidden": [16]},
        "training": {"local_steps": 3, "batch_size": 8, "lr": 0.1},
        "algorithm": NOVA,
        "checkpoint": {"every": 1},
        "runtime": {"pool": "serial"},
        **changes,
    }


def test_facts_stand_in_the_scores_and_a_message_counts_their_bytes(tmp_path):
    found, plain = (
        simulate(make_scenario(scenario(**changes)), tmp_path / name)
        for name, changes in (("nova", {}), ("avg", {"algorithm": "fedavg"}))
    )
    scores = pd.read_parquet(found.folder / "scores.parquet")
    stated = scores[scores["name"] == "fact.steps"]

    assert stated.groupby("round")["client_id"].apply(list).tolist() == [list(range(6))] * 3
    assert set(stated["value"]) <= {1.0, 2.0, 3.0}
    assert len(set(stated["value"])) > 1
    clients, others = (pd.read_parquet(run.folder / "clients.parquet") for run in (found, plain))
    assert set(clients["bytes_up"] - others["bytes_up"]) == {8}
    assert not (pd.read_parquet(plain.folder / "scores.parquet")["name"] == "fact.steps").any()


def test_a_probe_is_told_what_its_client_stated(tmp_path):
    probes = [{"name": "dlg", "client": 2, "rounds": [0, 1], "max_iterations": 1}]
    one_step = {"training": {"local_steps": 1, "batch_size": 4, "lr": 0.1}, "algorithm": "fednova"}
    folder = simulate(make_scenario(scenario(**one_step, probes=probes)), tmp_path / "run").folder
    places = sorted(p.parent for p in (folder / "observations").rglob("observation.json"))

    assert len(places) == 2
    for place in places:
        observation = load_observation(place)
        assert observation.releases["facts"].tolist() == [observation.knowledge.local_steps] == [1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "schedule", ["synchronous", {"name": "buffered", "buffer_size": 2, "concurrency": 4}]
)
def test_killed_and_resumed_a_run_with_facts_gives_the_bits_of_one_that_never_stopped(schedule, tmp_path):
    values = scenario(
        rounds=40,
        schedule=schedule,
        network={"name": "links", "latency_seconds": 1.0, "jitter": 1.0, "dropout": 0.1},
        codec="terngrad",
    )
    whole = simulate(make_scenario(json.loads(json.dumps(values))), tmp_path / "whole").folder
    dead = killed(values, tmp_path)
    resume(dead)
    assert bits(dead) == bits(whole)
