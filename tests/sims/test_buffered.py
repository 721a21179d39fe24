"""Buffered runs from a scenario: tables, probes, and a process that dies with messages on the way."""

import json

import pandas as pd
import pytest
import torch
from outsiders import bits, killed

from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.core.errors import CheckpointError, GauntletError
from gauntlet.server.checkpoint import checkpoints, read_checkpoint
from gauntlet.server.recording.replays import load_observation, load_truth
from gauntlet.server.simulation import prepare
from gauntlet.sims.run import check_checkpoint, resume, simulate
from gauntlet.sims.scenario import fingerprint, make_scenario


def scenario(**changes):
    """Buffers of 2 of 6 clients with heavy-tailed delays, of whom some are lost; one attacks."""
    return {
        "name": "buffered",
        "rounds": 8,
        "num_clients": 6,
        "data": "digits",
        "model": {"name": "mlp", "hidden": [16]},
        "training": {"local_steps": 1, "batch_size": 8, "lr": 0.1},
        "defense": {"name": "foolsgold"},
        "network": {"name": "links", "latency_seconds": 1.0, "jitter": 1.0, "dropout": 0.1},
        "schedule": {"name": "buffered", "buffer_size": 2, "concurrency": 4},
        "attacks": [{"name": "sign_flip", "clients": [3], "start_round": 2}],
        "checkpoint": {"every": 1},
        "runtime": {"pool": "serial"},
        **changes,
    }


def test_tables_hold_what_counted_or_was_given_up_and_how_stale_it_was(tmp_path):
    run = simulate(make_scenario(scenario()), tmp_path / "run")
    clients, rounds = run.clients, run.rounds
    scores = pd.read_parquet(run.folder / "scores.parquet")
    assert list(rounds["round"]) == list(range(8))
    assert rounds["virtual_seconds"].is_monotonic_increasing
    assert (clients[clients["status"] == "ok"].groupby("round").size() == 2).all()
    assert set(clients["status"]) <= {"ok", "dropped"}
    stale = scores[scores["name"] == "staleness"].merge(clients, on=["round", "client_id"])
    assert len(stale) > 3
    assert (stale["value"] >= 1).all()
    attacks = clients[clients["truth"] == "sign_flip"].merge(
        scores[scores["name"] == "staleness"], on=["round", "client_id"], how="left"
    )
    assert set(attacks["client_id"]) == {3}
    assert (attacks["round"] - attacks["value"].fillna(0) >= 2).all()  # it began as an attacker


def test_a_synchronous_schedule_is_no_other_scenario_than_one_without_the_key():
    """Folders of versions before the key stay their own: the same fingerprint."""
    values = make_scenario(scenario(schedule="synchronous")).values()
    old = {key: value for key, value in values.items() if key != "schedule"}
    assert fingerprint(values, {}) == fingerprint(old, {})
    assert fingerprint(make_scenario(scenario()).values(), {}) != fingerprint(values, {})


def test_a_probe_records_the_round_in_which_its_client_began_and_what_that_decoded(tmp_path):
    """Oracle: the client's own training from the recorded broadcast gives the recorded message's bits."""
    probes = [{"name": "bias_counts", "client": 2, "rounds": [0, 2, 4]}]
    chosen = scenario(probes=probes, codec_down="fp16", attacks=[], rounds=12)
    run = simulate(make_scenario(chosen), tmp_path / "run")
    simulation = prepare(make_scenario(chosen).run_spec())
    pool, places = simulation.serial_pool(), sorted((run.folder / "observations").iterdir())
    assert len(places) >= 2
    late = 0
    for place in places:
        seen = load_observation(place)
        count = run.clients[(run.clients["client_id"] == 2) & (run.clients["status"] == "ok")]["round"]
        late += seen.round not in set(count)
        params = torch.nn.utils.parameters_to_vector(seen.model.parameters()).detach()
        assert torch.equal(params, params.half().float())  # what came down, not what the server kept
        trained = pool.train(Broadcast(seen.round, params, torch.zeros(0)), torch.tensor([2]).numpy(), 1.0)
        assert torch.equal(trained.updates.vectors[0], seen.update)
        told = json.loads((place / "observation.json").read_text())
        assert told["round"] == seen.round == int(place.name.split("-")[1])
        assert torch.equal(load_truth(place).y, simulation.kernel.truth(2, seen.round).y)
    assert late, "every message counted in the round in which it began: nothing is shown"
    assert len(list((run.folder / "inferences").glob("*[!s].json"))) == len(places)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"codec": "identity"},
        {"codec": "error_feedback"},
        {"schedule": {"name": "fedasync", "concurrency": 4}, "network": {"name": "bursts", "slow": 0.3}},
    ],
    ids=str,
)
def test_killed_and_resumed_it_gives_the_bits_of_a_run_that_never_stopped(tmp_path, changes):
    probes = [{"name": "bias_counts", "rounds": [1, 20]}]
    values = scenario(rounds=40, probes=probes, **changes)
    whole = simulate(make_scenario(values), tmp_path / "whole").folder
    dead = killed(values, tmp_path)
    resume(dead)
    assert bits(dead) == bits(whole)
    assert observed(dead) == observed(whole)


def observed(folder):
    places = (folder / "observations").rglob("*")
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in places if p.is_file()}


@pytest.mark.slow
def test_ray_gives_the_bits_of_one_process(tmp_path, ray_here):
    one = simulate(make_scenario(scenario()), tmp_path / "one").folder
    ray = scenario(runtime={"pool": "ray", "num_workers": 2})
    assert bits(simulate(make_scenario(ray), tmp_path / "ray").folder) == bits(one)


def test_a_checkpoint_with_the_mailbox_of_another_run_is_refused_in_one_line(tmp_path):
    """The file is whole, and of this run by its name; what is on the way is of another codec."""
    chosen = make_scenario(scenario(rounds=3))
    folder = simulate(chosen, tmp_path / "run").folder
    other = make_scenario(scenario(rounds=3, codec="terngrad"))
    path = checkpoints(folder / "checkpoints")[-2]
    state = read_checkpoint(path, chosen.fingerprint()).state
    with pytest.raises(CheckpointError, match="its mailbox holds frames of another codec") as caught:
        check_checkpoint(folder, prepare(other.run_spec()), read_checkpoint(path, chosen.fingerprint()))
    assert state.mailbox is not None
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("bufferd", "unknown schedule 'bufferd'; did you mean 'buffered'"),
        ({"name": "buffered", "buffer_sise": 3}, "did you mean 'buffer_size'"),
        ({"name": "buffered", "buffer_size": 0}, "buffer_size must be at least 1, got 0"),
        ({"name": "buffered", "buffer_size": 2.5}, "buffer_size"),
        ({"name": "buffered", "exponent": float("nan")}, "exponent"),
    ],
)
def test_schedules_that_cannot_be_are_refused_in_one_line(schedule, words):
    with pytest.raises(GauntletError, match=words) as caught:
        prepare(make_scenario(scenario(schedule=schedule)).run_spec())
    assert "\n" not in str(caught.value)
