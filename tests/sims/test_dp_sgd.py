"""A short run of the scenario that protects single examples: its table says what holds, for whom and why."""

import pytest

from gauntlet.privacy.accounting.curves import pld_epsilon
from gauntlet.sims.run import simulate
from gauntlet.sims.scenario import load_scenario

SHORT = {"data.name": "digits", "model.name": "logistic_regression", "rounds": 3, "runtime.pool": "serial"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    changes = {**SHORT, "training.batch_size": 16}
    return simulate(load_scenario("dp-sgd-mnist", changes), tmp_path_factory.mktemp("dp") / "run")


def test_every_round_says_what_it_has_cost_so_far(run):
    epsilon = run.rounds["epsilon"]

    assert epsilon.is_monotonic_increasing
    assert epsilon.notna().all()
    assert run.rounds["epsilon_reason"].isna().all()
    assert set(run.rounds["unit"]) == {"example"}
    assert set(run.rounds["trust_model"]) == {"local"}
    assert set(run.rounds["relation"]) == {"zero_out"}
    assert set(run.rounds["sampling"]) == {"poisson"}
    assert set(run.rounds["noise_multiplier"]) == {1.0}
    assert set(run.rounds["clip_norm"]) == {1.0}
    assert set(run.rounds["delta"]) == {1e-5}


def test_the_manifest_holds_the_tight_epsilon_of_the_busiest_client(run):
    """Oracle: dp-accounting, 143 or 144 examples a client, 9 steps a round at 16 / 143, 3 rounds."""
    assert set(run.clients["num_examples"]) == {143, 144}
    expected = pld_epsilon([("poisson", 1.0, 16 / 143, 1, 27)], 1e-5, 1e-4)

    assert run.manifest["epsilon"]["value"] == pytest.approx(expected, rel=1e-3)
    assert run.rounds["epsilon"].iloc[-1] == run.manifest["epsilon"]["value"]  # one run, one epsilon


def test_it_learns(run):
    assert run.rounds["accuracy"].iloc[-1] > 0.5
