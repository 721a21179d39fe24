"""The attack on two rounds of one client: from a scenario, and again from what was recorded."""

import json
import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch
from outsiders import FOLDER

from gauntlet.attacks.leakage import LEAKAGE_ATTACKS, contract
from gauntlet.attacks.leakage.parts.metrics import score
from gauntlet.core.errors import PluginError, ScenarioError
from gauntlet.core.seeds import generator
from gauntlet.sims.results import load_run, read_manifest
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import make_scenario

NAME = f"{FOLDER}/two_rounds.py:TwoRounds"
SCENARIO = {
    "name": "two-rounds",
    "rounds": 4,
    "num_clients": 200,
    "data": "digits",
    "model": {"name": "mlp", "hidden": [32]},
    "training": {"local_epochs": 1, "batch_size": 8, "lr": 0.5},
    "runtime": {"pool": "serial"},
}


def probe(rounds, **changes):
    return {"name": NAME, "client": 3, "rounds": rounds, "labels_known": True, "steps": 150, **changes}


def run(folder, *probes, **changes):
    return simulate(make_scenario({**SCENARIO, "probes": list(probes), **changes}), folder)


def attack(**options):
    return LEAKAGE_ATTACKS.build(NAME, options)


def test_both_rounds_reach_the_attack_in_their_order_and_beat_the_better_of_them(tmp_path):
    """Measured with 150 steps; two gradients of one batch are twice the equations."""
    found = run(tmp_path / "run", probe([0]), probe([3]), probe([0, 3]))
    mean = {}
    for place in (found.folder / "reconstructions").iterdir():
        report = json.loads((place / "reconstruction.json").read_text())
        rounds = tuple(int(name.split("-")[1]) for name in report["observations"])
        mean[rounds] = float(np.mean(report["psnr"]))
        assert report["details"]["rounds"] == len(rounds)
        assert (report["sok"], report["round"]) == ("C", rounds[-1])

    assert sorted(mean) == [(0,), (0, 3), (3,)]
    assert mean[0, 3] > max(mean[0,], mean[3,]) + 1
    assert len(found.gallery()) == 3


def test_without_a_named_client_the_first_that_was_seen_is_waited_for(tmp_path):
    """Cohorts of 3 of 8: by the table of clients, the next round in which that client came."""
    changes = {
        "num_clients": 8,
        "rounds": 6,
        "training": {**SCENARIO["training"], "batch_size": 300},
        "sampler": {"name": "fixed_size", "cohort_size": 3},
    }
    found = run(tmp_path / "run", {**probe([0, 2], steps=1), "client": None}, **changes)
    came = found.clients.groupby("client_id")["round"].apply(list)
    first = min(client for client, rounds in came.items() if 0 in rounds)
    later = [round_ for round_ in came[first] if round_ >= 2]
    (seen,) = read_manifest(found.folder)["probes"]

    assert seen["seen"] == [[0, first], *([[later[0], first]] if later else [])]
    (item,) = found.gallery()
    assert (item.client_id, item.round) == (first, later[0] if later else 0)


def test_where_the_client_does_not_come_back_it_is_given_what_there_is(tmp_path):
    gone = {"sampler": {"name": "round_robin", "period": 4}, "num_clients": 8, "rounds": 3}
    gone["training"] = {**SCENARIO["training"], "batch_size": 300}
    found = run(tmp_path / "run", {**probe([0, 1], steps=1), "client": None}, **gone)

    assert [item.round for item in found.gallery()] == [0]
    assert "took part in no round that was run from round 1 on" in read_manifest(found.folder)["notes"][0]


def test_more_rounds_than_it_takes_are_refused_before_anybody_trains(tmp_path):
    with pytest.raises(PluginError, match="TwoRounds takes 1 to 2 rounds of one client together, got 3"):
        run(tmp_path / "run", probe([0, 1, 2]))
    with pytest.raises(PluginError, match=r"needs to know batch_size, labels.*missing here: labels"):
        run(tmp_path / "run", {**probe([0, 1]), "labels_known": False})
    with pytest.raises((PluginError, ScenarioError), match="local_steps = 1 only"):
        run(tmp_path / "run", probe([0, 1]), training={"local_steps": 2, "batch_size": 8, "lr": 0.5})
    assert not (tmp_path / "run").exists()


def test_only_what_a_sparse_codec_sent_is_compared():
    """On the contract's example: of 10 % of the coordinates, what is compared is still the gradient."""
    (first, second), truth = contract.example(rounds=2)
    sparse = []
    for seen in (first, second):
        kept = seen.update.abs() >= seen.update.abs().quantile(0.9)
        sparse.append(replace(seen, update=torch.where(kept, seen.update, 0.0), support=kept))
    unaware = [replace(seen, support=torch.ones_like(seen.support)) for seen in sparse]
    mean = [
        float(score(attack(steps=150).reconstruct(pair, generator(0, "attack")), truth).psnr)
        for pair in (sparse, unaware)
    ]

    assert mean[0] > mean[1] + 5


def test_recorded_rounds_are_attacked_again_together(tmp_path, monkeypatch, capsys):
    from gauntlet.sims.attack_command import attack as command

    monkeypatch.setenv("COLUMNS", "1000")  # no line of the table is broken
    folder = run(tmp_path / "run", probe([0, 1], steps=5), probe([1], steps=5)).folder
    command([str(folder)], with_=[NAME], set_=["steps=6"])

    found = [json.loads(p.read_text()) for p in sorted((folder / "attacked").rglob("reconstruction.json"))]
    assert [len(report["observations"]) for report in found] in ([2, 1], [1, 2])
    assert "rounds 0 + 1" in capsys.readouterr().out
    assert len(load_run(folder).attacked()) == 2


def test_the_page_names_the_scenario_that_it_shows():
    page = (FOLDER.parents[1] / "docs" / "add-a-leakage-attack.md").read_text(encoding="utf-8")
    shown = tomllib.loads(page.split("```toml\n")[1].split("```")[0])
    assert [p["rounds"] for p in shown["probes"]] == [[0], [0, 5]]
