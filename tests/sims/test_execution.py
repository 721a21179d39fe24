"""What a run ends with: a warning of models that are no numbers."""

from dataclasses import replace

import pytest
import torch

from gauntlet.server.simulation import prepare
from gauntlet.sims.execution import diverged
from gauntlet.sims.scenario import make_scenario


@pytest.fixture
def parted():
    """Return a plan of ``gm_split`` and a state in which clients 1 and 3 are in the second cluster."""
    sections = {
        "name": "parted",
        "rounds": 1,
        "data": {"name": "synthetic", "num_features": 3, "num_classes": 2},
        "num_clients": 4,
        "model": "linear",
        "algorithm": {"name": "gm_split", "room": 4, "max_clusters": 2},
        "defense": {"name": "mean", "weighting": "uniform"},
    }
    simulation = prepare(make_scenario(sections, "parted").run_spec())
    known, params = simulation.first.optimizer, simulation.first.params
    known = {**known, "clusters": 2, "others": params[None].clone()}
    known |= {"membership": torch.tensor([0, 1, 0, 1]), "placed": torch.ones(4, dtype=torch.bool)}
    return simulation.plan, replace(simulation.first, optimizer=known)


def test_of_finite_models_nobody_is_warned(parted):
    assert diverged(*parted) is None


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_of_a_clusters_model_that_is_no_longer_finite_its_clients_are_named(parted, broken):
    plan, state = parted
    state.optimizer["others"][0, 2] = broken

    assert "the last model that 2 clients are served (1, 3) holds NaN or infinity: " in diverged(plan, state)


def test_of_the_last_model_the_warning_is_as_ever(parted):
    plan, state = parted
    state.params[0] = float("nan")

    assert "the last model holds NaN or infinity, and its scores mean nothing: " in diverged(plan, state)
