"""Noise from the operating system: everything but the noise follows from the seed."""

import json

import numpy as np
import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.server.simulation import prepare
from gauntlet.sims.progress import Silent
from gauntlet.sims.run import resume, simulate
from gauntlet.sims.scenario import fingerprint, make_scenario

CLIPPED = {"clip_norm": 0.3, "noise_multiplier": 1.0, "delta": 1e-3}
MECHANISMS = {
    "gaussian": {"name": "gaussian", **CLIPPED},
    "local_gaussian": {"name": "local_gaussian", **CLIPPED},
    "dp_sgd": {"name": "dp_sgd", **CLIPPED},
    "skellam": {"name": "skellam", **CLIPPED},
}


def scenario(noise_seed="system", mechanism="gaussian", **changes):
    """Four rounds of twenty clients on digits."""
    sections = {
        "name": "noise",
        "seed": 3,
        "noise_seed": noise_seed,
        "rounds": 4,
        "num_clients": 20,
        "data": {"name": "digits"},
        "model": {"name": "logistic_regression"},
        "sampler": {"name": "full"},
        "training": {"local_epochs": 1, "batch_size": 16, "lr": 0.1},
        "privacy": MECHANISMS.get(mechanism, {"name": mechanism}),
        "defense": {"name": "mean", "weighting": "fixed"},
        "checkpoint": {"every": 2},
        "runtime": {"pool": "serial"},
    }
    return make_scenario(sections | changes, "test")


def first_round(mechanism, noise_seed):
    """Return the model after one round, and the clients that came."""
    simulation = prepare(scenario(noise_seed, mechanism).run_spec())
    step = next(iter(simulation.steps(simulation.serial_pool(), simulation.first)))
    return step.state.params.numpy(), step.outcome.sent.client_ids.tolist()


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_two_runs_differ_where_noise_comes_from_the_system_and_nowhere_else(mechanism):
    (one, came), (other, again) = (first_round(mechanism, "system") for _ in range(2))
    assert came == again
    assert not np.array_equal(one, other)
    assert np.array_equal(*(first_round(mechanism, "run")[0] for _ in range(2)))


def test_what_clients_learn_before_noise_is_the_same_in_both_runs(tmp_path):
    runs = [simulate(scenario(), tmp_path / str(n)) for n in range(2)]
    before = [run.clients[run.clients["round"] == 0] for run in runs]
    for column in ("client_id", "train_loss", "raw_norm", "update_norm"):
        assert before[0][column].tolist() == before[1][column].tolist()
    assert runs[0].rounds["epsilon"].tolist() == runs[1].rounds["epsilon"].tolist()
    assert runs[0].rounds["loss"].tolist() != runs[1].rounds["loss"].tolist()
    assert runs[0].manifest["fingerprint"] == runs[1].manifest["fingerprint"]


class Heard(Silent):
    """Keep what is said."""

    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)


def test_the_console_and_the_manifest_say_that_bits_are_given_up_and_nothing_holds_the_secret(tmp_path):
    heard = Heard()
    run = simulate(scenario(), tmp_path / "run", heard)
    assert any("drawn from the operating system" in line for line in heard.lines)
    assert any("drawn from the operating system" in line for line in run.manifest["notes"])
    assert run.manifest["scenario"]["noise_seed"] == "system"
    numbers = [v for v in json.dumps(run.manifest).replace(",", " ").split() if v.isdigit()]
    assert all(int(v) < 2**64 for v in numbers)  # the secret has 128 bits


def test_a_run_that_stopped_is_resumed_with_other_noise_and_says_from_where(tmp_path):
    folder = tmp_path / "run"
    whole = simulate(scenario(), folder)
    before = whole.rounds["loss"].tolist()
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"status": "running"}))
    newest = sorted(p.stem for p in (folder / "checkpoints").iterdir())[-1]
    for part in (folder / "checkpoints").glob(f"{newest}*"):
        part.unlink()
    run = resume(folder)
    assert run.manifest["status"] == "complete"
    assert run.rounds["loss"].tolist()[:2] == before[:2]
    assert run.rounds["loss"].tolist()[2:] != before[2:]
    assert any("rounds from 2 on" in line for line in run.manifest["notes"])


def test_scenarios_without_the_key_keep_their_fingerprint():
    """Of a scenario that versions before the key wrote: the key's default must not enter the hash."""
    told = scenario("run")
    values = told.values()
    assert fingerprint({k: v for k, v in values.items() if k != "noise_seed"}, {}) == told.fingerprint({})
    assert scenario("system").fingerprint({}) != told.fingerprint({})


def test_data_that_are_released_once_refuse_noise_that_every_load_would_draw_anew():
    changes = {
        "data": {"name": "mobility"},
        "privacy": {"name": "input_gaussian", "epsilon": 1.0, "delta": 1e-7},
    }
    with pytest.raises(ScenarioError, match="noise_seed must be 'run'"):
        prepare(scenario("system", **changes).run_spec())


def test_another_word_is_refused():
    with pytest.raises(ScenarioError, match="noise_seed"):
        scenario("secret")
