"""Checkpoints whose digest fits, and that do not hold what a run goes on from: refused in one line."""

from dataclasses import replace

import pytest

from gauntlet.core.errors import CheckpointError
from gauntlet.server.checkpoint import Checkpoint
from gauntlet.server.simulation import prepare
from gauntlet.sims.run import check_state

PRIVATE = {
    "privacy": {"name": "gaussian", "clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-3},
    "defense": {"name": "mean", "weighting": "fixed"},
    "sampler": {"name": "poisson", "sample_rate": 0.5},
}


@pytest.fixture(scope="module")
def simulation(tiny):
    return prepare(tiny(**PRIVATE).run_spec())


@pytest.mark.parametrize("key", ["rule", "charges", "clients", "precisions", "reason"])
def test_an_account_that_lacks_something_is_refused(key, simulation, tmp_path):
    ledger = {name: value for name, value in simulation.first.ledger.items() if name != key}
    with pytest.raises(CheckpointError, match=f"does not say what was spent of privacy: {key} missing"):
        check_state(simulation, Checkpoint(tmp_path, replace(simulation.first, ledger=ledger), None))


@pytest.mark.parametrize("charges", [None, 3, (1,), (("poisson",),), "x"])
def test_an_account_that_cannot_be_added_up_is_refused(charges, simulation, tmp_path):
    ledger = {**simulation.first.ledger, "rule": "poisson add_remove", "charges": charges}
    with pytest.raises(CheckpointError, match="does not say what was spent of privacy"):
        check_state(simulation, Checkpoint(tmp_path, replace(simulation.first, ledger=ledger), None))


@pytest.mark.parametrize("kept", [(None,), None, []])
def test_memories_of_pre_aggregations_that_there_are_not_are_refused(kept, simulation, tmp_path):
    state = replace(simulation.first, pre_aggregations=kept)
    with pytest.raises(CheckpointError, match="does not hold the memories of 0 pre-aggregations"):
        check_state(simulation, Checkpoint(tmp_path, state, None))


def test_what_is_no_account_is_refused_and_one_that_is_passes(simulation, tmp_path):
    check_state(simulation, Checkpoint(tmp_path, simulation.first, None))
    with pytest.raises(CheckpointError, match="does not say what was spent of privacy"):
        check_state(simulation, Checkpoint(tmp_path, replace(simulation.first, ledger=None), None))
