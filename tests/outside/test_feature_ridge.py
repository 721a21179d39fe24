"""The procedure with messages of its own length: against normal equations and least squares."""

import numpy as np
import pytest
import torch
from outsiders import FOLDER, SUPPORT
from planes import CLIENTS, EACH, examples

from gauntlet.clients.algorithms import ALGORITHMS
from gauntlet.core.contracts import LocalTraining
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec, RunSpec

NAME = f"{FOLDER}/feature_ridge.py:FeatureRidge"
P = 6


def spec(rounds=1, options=None, **changes):
    settings = {
        "seed": 1,
        "rounds": rounds,
        "num_clients": CLIENTS,
        "data": PluginSpec(f"{SUPPORT}/planes.py:Planes"),
        "partition": PluginSpec(f"{SUPPORT}/planes.py:InRows"),
        "model": PluginSpec("linear"),
        "training": LocalTraining(),
        "algorithm": PluginSpec(NAME, options or {}),
        "defense": PluginSpec("mean", {"weighting": "uniform"}),
    }
    return RunSpec(**(settings | changes))


def run(given, pool=None, state=None):
    simulation = prepare(given)
    pool = simulation.serial_pool() if pool is None else pool(simulation)
    found = list(simulation.steps(pool, state))
    pool.close()
    return found


def by_hand(clients, num_features, penalty):
    """Solve the normal equations of the mean of these clients' mean squared errors, in float64."""
    x, y = examples()
    design = np.hstack([x, np.ones((len(x), 1))]).astype(np.float64)  # weights, then the bias
    rows = [slice(EACH * i, EACH * (i + 1)) for i in clients]
    hessian = sum(2 / EACH * design[r].T @ design[r] for r in rows) / CLIENTS
    slope = sum(-2 / EACH * design[r].T @ y[r, 0] for r in rows) / CLIENTS
    rule = ALGORITHMS.build(NAME, {"num_features": num_features, "penalty": penalty})
    directions = rule.directions(P).double().numpy()
    gram = directions @ hessian @ directions.T + penalty * np.eye(num_features)
    return directions.T @ np.linalg.solve(gram, -directions @ slope)


@pytest.mark.parametrize(("num_features", "penalty"), [(1, 0.01), (3, 0.01), (4, 1.0)])
def test_one_round_with_everybody_solves_the_normal_equations(num_features, penalty):
    (step,) = run(spec(options={"num_features": num_features, "penalty": penalty}))
    expected = by_hand(range(CLIENTS), num_features, penalty)
    assert step.state.params.numpy() == pytest.approx(expected, abs=1e-4)


def test_with_as_many_features_as_parameters_it_is_least_squares():
    """numpy's own, on all examples together: every client has equally many."""
    x, y = examples()
    design = np.hstack([x, np.ones((len(x), 1))])
    expected = np.linalg.lstsq(design, y[:, 0], rcond=None)[0]
    (step,) = run(spec(options={"num_features": P, "penalty": 1e-7}))
    assert step.state.params.numpy() == pytest.approx(expected, abs=0.01)


def test_once_everybody_was_counted_it_does_not_matter_who_takes_part():
    """Clients remember what they sent: later messages are zeros, and the solution stays."""
    network = PluginSpec("links", {"latency_seconds": 1.0, "jitter": 0.3, "dropout": 0.3})
    some = spec(14, sampler=PluginSpec("fixed_size", {"cohort_size": 3}), network=network)
    steps, counted, lost = run(some), set(), 0
    for step in steps:
        o = step.outcome
        counted |= set(o.received.client_ids.tolist())
        lost += len(o.sent) - len(o.received)
        expected = by_hand(sorted(counted), 4, 0.01)
        assert step.state.params.numpy() == pytest.approx(expected, abs=2e-4)
        assert set(step.state.clients) == counted
    assert lost > 0
    assert len(counted) == CLIENTS
    assert float(steps[-1].outcome.sent.vectors.abs().max()) == 0


def test_bytes_are_those_of_the_declared_layouts():
    """m^2 + m floats up; P and m P floats down; names and checks besides."""
    m = 4
    (step,) = run(spec(options={"num_features": m}))
    up, down = step.state.bytes_up / CLIENTS, step.state.bytes_down / CLIENTS
    assert 0 <= up - 4 * (m * m + m) < 60
    assert 0 <= down - 4 * (P + m * P) < 60
    assert step.outcome.sent.vectors.shape == (CLIENTS, m * m + m)


@pytest.mark.parametrize(
    "changes",
    [
        {"defense": PluginSpec("median")},
        {"defense": PluginSpec("multi_krum", {"num_byzantine": 1})},
        {"defense": PluginSpec("norm_clipping", {"clip_norm": 1.0})},
        {
            "roles": (RoleSpec(PluginSpec("sign_flip"), count=1),),
            "defense": PluginSpec("trimmed_mean", {"num_byzantine": 1}),
        },
        {"codec": PluginSpec("error_feedback", {"codec": {"name": "topk", "density": 0.5}})},
        {"codec": PluginSpec("terngrad")},
    ],
    ids=str,
)
def test_codecs_defenses_and_attacks_work_on_its_messages(changes):
    last = run(spec(3, **changes))[-1]
    assert bool(last.state.params.isfinite().all())
    assert last.outcome.sent.vectors.shape[1] == 20


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["socket", "ray"])
def test_ray_gives_the_same_bits_over_any_transport(ray_here, transport):
    some = spec(6, sampler=PluginSpec("fixed_size", {"cohort_size": 4}))
    one, ray = run(some), run(some, lambda s: s.ray_pool(2, transport=transport))
    assert torch.equal(one[-1].state.params, ray[-1].state.params)
    assert all(torch.equal(row, ray[-1].state.clients[i]) for i, row in one[-1].state.clients.items())
