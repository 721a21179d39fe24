"""FetchSGD against Algorithm 1 on whole vectors, and in runs whose messages are sketches."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.clients.algorithms.fetch_sgd import FetchSGD
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import ScenarioError
from gauntlet.core.seeds import generator
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RunSpec

P = 12
APART = FetchSGD(rows=1, cols=100_000, k=3, lr=0.1, momentum=0.9)
"""With cells enough that no two of twelve coordinates share one, which the first test checks."""


def sketched(algorithm, vector):
    return torch.from_numpy(algorithm._hashes(len(vector)).sketch(vector.numpy()))


@pytest.mark.parametrize("mode", ["zero", "subtract"])
def test_without_collisions_it_is_algorithm_1_on_whole_vectors(mode):
    """u = rho u + g, e = e + lr u, D = the 3 largest of e; D leaves e, and with "zero" u as well."""
    algorithm = replace(APART, error_mode=mode)
    assert len(set(algorithm._hashes(P).cells[0])) == P
    rng, params, state = generator(0, "steps"), torch.zeros(P), algorithm.init()
    w, u, e = np.zeros(P), np.zeros(P), np.zeros(P)
    for _ in range(8):
        g = torch.from_numpy(rng.standard_normal(P)).float()
        params, state = algorithm.step(params, sketched(algorithm, g), state, 1.0)
        u = 0.9 * u + g.numpy()
        e = e + 0.1 * u
        top = np.argsort(-np.abs(e))[:3]
        w[top] -= e[top]
        e[top] = 0
        if mode == "zero":
            u[top] = 0
        np.testing.assert_allclose(params.numpy(), w, atol=1e-6)


def test_the_papers_regression_of_one_parameter_by_hand():
    """x = y = 0, 1, 2, 3 and the sum of squares: the gradient at 0 is -28, and lr 0.005 goes to 0.14.

    Two workers of two examples each send -2 and -26 (the authors' own test); their sketches add up to it.
    """
    algorithm = FetchSGD(rows=3, cols=7, k=1, lr=0.005, momentum=0.0)
    whole = sketched(algorithm, torch.tensor([-28.0]))
    parts = sketched(algorithm, torch.tensor([-2.0])) + sketched(algorithm, torch.tensor([-26.0]))
    assert torch.equal(whole, parts)
    params, _ = algorithm.step(torch.zeros(1), whole, algorithm.init(), 1.0)
    assert float(params) == pytest.approx(0.14)


def test_heavy_coordinates_are_found_among_noise():
    """Of the specification: 50 entries of 10 among 100,000 of N(0, 0.1^2) are all found in 5 x 5000 cells."""
    algorithm = FetchSGD(rows=5, cols=5000, k=50, lr=1.0, momentum=0.0)
    rng = generator(0, "heavy")
    g = torch.from_numpy(rng.standard_normal(100_000)).float() * 0.1
    heavy = rng.choice(100_000, 50, replace=False)
    g[heavy] = 10.0
    params, _ = algorithm.step(torch.zeros(100_000), sketched(algorithm, g), algorithm.init(), 1.0)
    assert set(params.nonzero().flatten().tolist()) == set(heavy.tolist())


def spec(**changes):
    base = RunSpec(
        seed=0,
        rounds=15,
        num_clients=6,
        data=PluginSpec("digits"),
        partition=PluginSpec("iid"),
        model=PluginSpec("logistic_regression"),
        training=LocalTraining(local_steps=1, batch_size=0, lr=0.1),
        algorithm=PluginSpec("fetch_sgd", {"cols": 130, "k": 100, "lr": 0.3}),
        rows=True,
    )
    return replace(base, **changes)


def last(spec):
    simulation = prepare(spec)
    pool = simulation.serial_pool()
    *_, step = simulation.steps(pool)
    pool.close()
    return simulation, step


def test_a_message_is_as_long_as_the_sketch_and_training_learns():
    simulation, step = last(spec())
    assert simulation.plan.exchange.up.num_parameters == 650
    assert step.outcome.received.vectors.shape == (6, 650)
    assert step.score.accuracy > 0.6


def test_robust_rules_and_sums_work_on_sketches():
    flipped = spec(defense=PluginSpec("median"), rounds=2)
    assert bool(last(flipped)[1].state.params.isfinite().all())
    alike = [last(spec(rounds=3, rows=rows))[1].state.params for rows in (True, False)]
    torch.testing.assert_close(*alike)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rows": 0}, "rows must be at least 1"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1"),
        ({"hash_seed": -1}, "hash_seed must be at least 0"),
        ({"cols": 10**12}, r"rows \* cols must be at most 2\^28 cells, got 5 x 1000000000000"),
        ({"rows": 10**9}, r"rows \* cols must be at most 2\^28 cells, got 1000000000 x 500"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        FetchSGD(**options)


def test_sums_of_sketches_are_all_that_the_server_needs():
    """Under secure sums training has the bits that it has without: sketches add up."""
    hidden, open_ = (last(spec(rounds=3, privacy=PluginSpec(name)))[1] for name in ("secure_sum", "none"))
    assert torch.equal(hidden.state.params, open_.state.params)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"privacy": "gaussian"}, "goes with privacy none or secure_sum, got 'gaussian'"),
        ({"momentum": 0.5}, r"steps of its own, which know no training\.momentum: leave it out, got 0\.5"),
        ({"weight_decay": 1e-3}, r"know no training\.weight_decay: leave it out, got 0\.001"),
        ({"optimizer": "adam"}, r"know no training\.optimizer: leave it out, got 'adam'"),
    ],
)
def test_what_it_would_ignore_is_refused_in_one_line(changes, words):
    privacy = changes.pop("privacy", None)
    options = {"clip_norm": 1.0, "noise_multiplier": 1.0, "delta": 0.1}
    refused = spec(privacy=PluginSpec(privacy, options)) if privacy else spec()
    with pytest.raises(ScenarioError, match=words) as caught:
        prepare(replace(refused, training=replace(refused.training, **changes)))
    assert "\n" not in str(caught.value)
