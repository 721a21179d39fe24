"""The ladder and the attack that reads it: from a scenario, and out of what was recorded."""

import json

import numpy as np
import pytest
import torch
from outsiders import FOLDER, scenario

from gauntlet.attacks.leakage import LEAKAGE_ATTACKS, contract
from gauntlet.attacks.servers import SERVERS
from gauntlet.core.errors import PluginError
from gauntlet.server.simulation import prepare
from gauntlet.sims.catalogue import check
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import make_scenario

SERVER, ATTACK = f"{FOLDER}/ladder.py:Ladder", f"{FOLDER}/ladder.py:LadderSteps"


def test_eight_digits_come_back_from_one_step(tmp_path):
    """All are alone between two of 256 thresholds."""
    values = scenario("ladder.py:Ladder", model={"name": "mlp", "hidden": [256]}, rounds=1, num_clients=60)
    values |= {"sampler": "full", "network": "ideal", "server": {"name": SERVER}}
    values["probes"] = [{"name": ATTACK, "client": 3, "labels_known": True}]
    values["training"] = {"local_steps": 1, "batch_size": 8, "lr": 1.0}
    folder = simulate(make_scenario(values), tmp_path / "run").folder
    (place,) = (folder / "reconstructions").iterdir()
    report = json.loads((place / "reconstruction.json").read_text())

    assert np.median(report["psnr"]) > 80
    assert report["sok"] == "F"


def test_the_model_and_its_layers_stay_and_thresholds_climb_in_equal_steps():
    spec = make_scenario(scenario("ladder.py:Ladder")).run_spec()
    simulation = prepare(spec)
    honest = prepare(make_scenario(scenario("ladder.py:Ladder", server="honest", probes=[])).run_spec())
    assert simulation.plan.layout == honest.plan.layout
    (step,) = [s for s in simulation.steps(simulation.serial_pool()) if s.outcome.round == 0]
    planted = simulation.plan.layout.views(step.outcome.broadcast.params)
    assert torch.allclose(-planted["1.bias"], torch.linspace(0.2, 0.45, 16))


def test_without_its_server_the_attack_is_refused_before_anybody_trains(tmp_path):
    values = scenario("ladder.py:Ladder", server="honest")
    with pytest.raises(PluginError, match=r"LadderSteps needs to know .*; missing here: server"):
        simulate(make_scenario(values), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_attack_keeps_its_promises_too(capsys):
    """On what a client sends to the server beside it."""
    assert check(ATTACK, None, [])
    assert "keeps 11 of the 11 promises" in capsys.readouterr().out


def test_another_model_is_refused_in_one_line():
    values = scenario("ladder.py:Ladder", model="logistic_regression")
    with pytest.raises(PluginError, match="the model must begin with two linear layers"):
        prepare(make_scenario(values).run_spec())


def test_options_that_cannot_be_are_refused():
    with pytest.raises(PluginError, match="low must be below high"):
        SERVERS.build(SERVER, {"low": 0.5})


def test_an_attack_that_names_a_server_that_is_nowhere_cannot_be_tried(tmp_path):
    code = (FOLDER / "ladder.py").read_text().replace('"server": "Ladder"', '"server": "nowhere"')
    (tmp_path / "nowhere.py").write_text(code)
    attack = LEAKAGE_ATTACKS.build(f"{tmp_path}/nowhere.py:LadderSteps")
    with pytest.raises(PluginError, match="unknown server 'nowhere'"):
        contract.the_check_accepts_an_easy_victim(attack)
