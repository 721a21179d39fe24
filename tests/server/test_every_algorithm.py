"""Every algorithm of the table, in the run of its example: taken up from a checkpoint, and on Ray's workers.

A run is one computation: where it is stopped, and who trains its clients, changes no bit of what it knows.
"""

from dataclasses import replace
from pathlib import Path

import pytest
from whole_runs import fields, last

from gauntlet.clients.algorithms import ALGORITHMS
from gauntlet.core.trees import equal
from gauntlet.server.checkpoint import load_checkpoint, save_checkpoint
from gauntlet.server.simulation import prepare
from gauntlet.sims.examples import example_of, files_of
from gauntlet.sims.scenario import load_scenario

ROUNDS = 3
LONG = {"uncertainty_merge", "stochastic_depth", "diff2_gd", "diff2_bvr_l_sgd", "fsgld"}
NAMES = [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in ALGORITHMS.table]


@pytest.fixture
def example(tmp_path, monkeypatch):
    """Return the simulation of an algorithm's example, of three rounds that are scored once."""
    monkeypatch.chdir(tmp_path)

    def simulation(name):
        for file, text in files_of("algorithms", name).items():
            Path(file).write_text(text)
        Path("example.toml").write_text(example_of("algorithms", name, ALGORITHMS.find(name)))
        spec = load_scenario("example.toml", {"runtime": {"pool": "serial"}}).run_spec()
        return prepare(replace(spec, rounds=ROUNDS, evaluate_every=ROUNDS))

    return simulation


@pytest.mark.parametrize("name", NAMES)
def test_a_run_taken_up_from_a_checkpoint_ends_with_the_same_bits(example, tmp_path, name):
    simulation = example(name)
    whole = [step.state for step in simulation.steps(simulation.serial_pool())]
    save_checkpoint(tmp_path / "checkpoints", whole[0], "run")
    found = load_checkpoint(tmp_path / "checkpoints", "run")
    assert found.round == 1
    assert equal(fields(found), fields(whole[0]))
    rest = last(simulation, simulation.serial_pool(), found)
    assert equal(fields(rest.state), fields(whole[-1]))


@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("name", ALGORITHMS.table)
def test_workers_of_ray_give_the_bits_of_one_process(example, name):
    simulation = example(name)
    serial, ray = (last(simulation, pool) for pool in (simulation.serial_pool(), simulation.ray_pool(2)))
    assert equal(fields(ray.state), fields(serial.state))
