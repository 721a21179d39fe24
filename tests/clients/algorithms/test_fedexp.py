"""FedExP's server step against the formula by hand, and the engine against that."""

from dataclasses import replace

import pytest
import torch
from quadratics import T1
from uneven import by_the_engine, training
from whole_runs import steps as run

from gauntlet.clients.algorithms.fedexp import FedExP
from gauntlet.core.contracts import Facts, LocalTraining, LocalWork
from gauntlet.server.spec import PluginSpec


def stepped(rule, updates, weights=None, stated=None):
    """Return how far the server goes along the mean of updates [K, P], which is told apart from it."""
    updates = torch.tensor(updates, dtype=torch.float64)
    p = torch.tensor(weights or [1 / len(updates)] * len(updates), dtype=torch.float64)
    told = rule.facts_of(updates, LocalWork(LocalTraining(), torch.ones(len(updates), 1)))
    values = told if stated is None else {"squared_norm": torch.tensor(stated, dtype=torch.float64)}
    facts = Facts(torch.arange(len(p)), torch.ones(len(p), dtype=torch.int64), p, LocalTraining(), values)
    mean = p @ updates
    params, _ = rule.step(torch.zeros_like(mean), mean, rule.init(), 1.0, facts)
    return float(params @ mean / (mean @ mean))


def test_equal_updates_are_averaged_and_orthogonal_ones_stepped_along_s_halves_as_far():
    """Derived: S |u|^2 / (2 S |u|^2) is below 1; of S orthogonal ones the mean has |u|^2 / S."""
    assert stepped(FedExP(eps=0), [[1.0, 2.0]] * 3) == 1.0
    assert stepped(FedExP(eps=0, max_step=100), torch.eye(8).tolist()) == pytest.approx(4.0)
    assert stepped(FedExP(eps=0, max_step=3), torch.eye(8).tolist()) == pytest.approx(3.0)
    assert stepped(FedExP(eps=1.0), torch.eye(8).tolist()) == 1.0  # 1 / (2 (1/8 + 1)) is below 1


def test_weights_and_lies_count_as_they_say():
    """By hand: p = (.75, .25) of (1, 0) and (-2, 0): (.75 + 1) / (2 * .25^2) = 14."""
    rule = FedExP(eps=0, max_step=50)
    assert stepped(rule, [[1.0, 0.0], [-2.0, 0.0]], [0.75, 0.25]) == pytest.approx(14.0)
    assert stepped(rule, [[1.0], [1.0]], stated=[1e30, 1.0]) == pytest.approx(50.0)
    assert stepped(rule, [[1.0], [1.0]], stated=[-1e30, 1.0]) == 1.0


@pytest.mark.parametrize("vectorize", ["on", "off"])
def test_the_engine_steps_by_the_formula(vectorize):
    """T1 with 2 and 20 steps: each round's move is that of plain averaging times the rule's factor."""
    how = training(0.02)
    spec = by_the_engine(PluginSpec("fedexp", {"eps": 1e-9}), how, 6, vectorize=vectorize)
    plain = replace(spec, algorithm=PluginSpec("fedavg"))
    x, expected = torch.zeros(1).double(), []
    for _ in range(6):
        (a, b) = T1
        updates = [(1 - (1 - how.lr * a[i]) ** n) * (b[i] - float(x)) for i, n in enumerate((2, 20))]
        mean = sum(updates) / 2
        x = x + min(max(1.0, sum(u * u for u in updates) / 2 / (2 * (mean * mean + 1e-9))), 10.0) * mean
        expected.append(float(x))
    found = [float(one.state.params[0]) for one in run(spec)]
    assert found == pytest.approx(expected, abs=1e-5)
    assert abs(float(run(plain)[-1].state.params[0]) - found[-1]) > 1e-3


@pytest.mark.parametrize("options", [{"eps": -1.0}, {"max_step": 0.5}])
def test_options_out_of_range_are_refused(options):
    (name, value) = next(iter(options.items()))
    with pytest.raises(ValueError, match=f"{name} must be at least . *, got {value}".replace(" *", "")):
        FedExP(**options)
