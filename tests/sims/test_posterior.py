"""What a sampler's results say: effective samples of a known chain, predictions by hand, files, picture."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.data.gaussian_shards import GaussianShards
from gauntlet.core.errors import ScenarioError
from gauntlet.core.seeds import generator
from gauntlet.sims.plots import draw
from gauntlet.sims.posterior import mixing, predictions
from gauntlet.sims.results import load_run
from gauntlet.sims.run import resume, simulate
from gauntlet.sims.scenario import load_scenario

FEW = {
    "rounds": 30,
    "algorithm.local_steps": 10,
    "algorithm.burn_in": 50,
    "algorithm.thin": 10,
    "sweep": {},
    "checkpoint.every": 7,
    "evaluation.every": 30,
}


def chain(phi: float, n: int, size: int = 3) -> np.ndarray:
    noise = generator(0, "chain").standard_normal((n, size))
    states = np.zeros((n, size))
    for t in range(1, n):
        states[t] = phi * states[t - 1] + noise[t]
    return states


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9])
def test_effective_samples_of_an_autoregression(phi):
    """n (1 - phi) / (1 + phi), and the autocorrelation is phi."""
    n = 20_000
    lag, effective = mixing(chain(phi, n))

    assert lag == pytest.approx(np.full(3, phi), abs=0.03)
    assert effective == pytest.approx(np.full(3, n * (1 - phi) / (1 + phi)), rel=0.15)


def test_a_parameter_that_never_moves_is_one_sample():
    states = chain(0.0, 100)
    states[:, 1] = 4.0
    lag, effective = mixing(states)

    assert (lag[1], effective[1]) == (1.0, 1.0)
    assert effective[0] > 50


def test_blocks_of_parameters_are_what_they_are_alone(monkeypatch):
    from gauntlet.sims import posterior

    states = chain(0.5, 300, 5)
    whole = mixing(states)
    monkeypatch.setattr(posterior, "_COLUMNS", 2)
    assert np.allclose(mixing(states), whole)


def test_the_predictive_is_the_mean_of_the_samples_probabilities():
    """Two samples of a bias alone: probabilities 1/2, 1/2 and 3/4, 1/4; all labels are 0."""
    model = nn.Linear(2, 2)
    samples = torch.zeros(2, 6)
    samples[1, 4] = math.log(3)
    first, second = predictions(model, GaussianShards(10).populate(2, 0), samples)

    assert first["log_likelihood"] == pytest.approx(math.log(1 / 2), abs=1e-6)
    assert second["log_likelihood"] == pytest.approx(math.log(3 / 4), abs=1e-6)
    assert second["predictive_log_likelihood"] == pytest.approx(math.log((1 / 2 + 3 / 4) / 2), abs=1e-6)
    assert second["predictive_accuracy"] == 1.0


def test_a_run_writes_its_samples_and_what_they_say(tmp_path):
    run = simulate(load_scenario("fsgld-toy", FEW), tmp_path / "run")
    samples = np.load(tmp_path / "run" / "samples.npy")

    assert samples.shape == (28 - 5, 2)  # 28 visits of 10 steps, those after more than 50
    assert run.posterior["parameter"].tolist() == ["mean[0]", "mean[1]"]
    assert run.posterior["mean"].to_numpy() == pytest.approx(samples.mean(axis=0), abs=1e-6)
    assert run.posterior["std"].to_numpy() == pytest.approx(samples.std(axis=0, ddof=1), abs=1e-6)
    assert len(run.predictive) == len(samples)
    assert run.sampled["num_samples"] == len(samples)
    figure = run.plot("posterior")
    assert len(figure.axes) == 2


def test_a_stopped_run_ends_with_the_same_samples(tmp_path):
    """Stop after round 14, where a checkpoint was written: the rest gives the same bytes."""
    import json

    whole = simulate(load_scenario("fsgld-toy", FEW), tmp_path / "whole").folder
    again = simulate(load_scenario("fsgld-toy", FEW), tmp_path / "again").folder
    (again / "checkpoints" / "round-000030.safetensors").unlink()
    manifest = json.loads((again / "manifest.json").read_text())
    (again / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    for name in ("samples.npy", "posterior.json"):
        (again / name).unlink()

    resume(again)

    for name in (
        "samples.npy",
        "posterior.parquet",
        "predictive.parquet",
        "posterior.json",
        "rounds.parquet",
    ):
        assert (again / name).read_bytes() == (whole / name).read_bytes()
    assert load_run(again).manifest["status"] == "complete"


def test_runs_that_sample_nothing_have_no_posterior(tiny, tmp_path):
    run = simulate(tiny(), tmp_path / "run")

    assert run.posterior is None
    assert run.sampled is None
    with pytest.raises(ScenarioError, match="no run kept samples"):
        draw("posterior", [run])


def test_probes_are_refused(tmp_path):
    with pytest.raises(ScenarioError, match="knows messages of local SGD"):
        simulate(load_scenario("fsgld-toy", {**FEW, "probes": [{"name": "dlg"}]}), tmp_path / "run")
