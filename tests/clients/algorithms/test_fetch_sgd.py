"""FetchSGD against Algorithm 1 on whole vectors, and in runs whose messages are sketches."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.algorithms.fetch_sgd import FetchSGD
from gauntlet.clients.data.synthetic import SyntheticPopulation
from gauntlet.clients.exchange.messages import Broadcast
from gauntlet.clients.training.kernel import BlockKernel
from gauntlet.core.contracts import LocalTraining, Visit
from gauntlet.core.errors import ScenarioError
from gauntlet.core.seeds import generator
from gauntlet.privacy.no_privacy import NoPrivacy
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


@dataclass(frozen=True)
class Looks:
    """Sends what came down, and hands each visit to ``see``."""

    see: Callable[[Visit], None]

    def schedule(self, training):
        return training

    def work(self, visit):
        self.see(visit)
        return visit.received, torch.zeros(())

    def init(self):
        return None

    def step(self, params, aggregate, state):
        return params, state


@pytest.mark.parametrize(("batch_size", "whole"), [(11, False), (0, True), (12, True), (50, True)])
def test_a_batch_is_drawn_without_replacement_and_a_small_client_takes_all(batch_size, whole):
    """Of 12 examples 11: their mean gradient is (12 g - g_j) / 11, j being the one that is left out."""
    data = SyntheticPopulation(num_features=5, num_classes=3, examples_per_client=12).populate(2, 0)
    algorithm, seen = FetchSGD(cols=50, batch_size=batch_size), []

    def see(visit):
        each = visit.example_gradients(visit.received, np.arange(12))  # [12, P]
        seen.append((algorithm.work(visit)[0], each))

    torch.manual_seed(0)
    kernel = BlockKernel(data, nn.Linear(5, 3), Looks(see), LocalTraining(), NoPrivacy(), (), 7)
    kernel.train(Broadcast(3, torch.ones(18), torch.zeros(0)), np.array([1]))
    ((message, each),) = seen
    total = each.sum(dim=0)
    means = [total / 12] if whole else [(total - one) / 11 for one in each]
    alike = [torch.allclose(message, sketched(algorithm, mean), atol=1e-6) for mean in means]
    assert sum(alike) == 1


def test_a_round_is_one_step_of_its_own_batch_and_size():
    asked = FetchSGD(batch_size=7, lr=0.3).schedule(LocalTraining(local_steps=9, batch_size=2, lr=5.0))
    assert asked == LocalTraining(local_steps=1, batch_size=7, lr=0.3)


def test_another_seed_draws_other_cells():
    one, other = (replace(APART, hash_seed=seed)._hashes(P) for seed in (0, 1))
    assert not np.array_equal(one.cells, other.cells)


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
        ({"cols": 0}, "cols must be at least 1"),
        ({"k": 0}, "k must be at least 1"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"lr": float("inf")}, "lr must be above 0 and finite, got inf"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1"),
        ({"momentum": -0.1}, "momentum must be at least 0 and below 1"),
        ({"batch_size": -1}, "batch_size must be at least 0"),
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
