"""Oracles: a step by hand, FedAvg at q = 0, and the paper's recursion on two quadratics."""

import numpy as np
import pytest
import torch
from quadratics import T1, by_the_engine, training
from whole_runs import steps

from gauntlet.clients.algorithms.qffl import QFFL
from gauntlet.core.contracts import Facts, LocalTraining
from gauntlet.server.spec import PluginSpec


def told(losses, norms, weights=None, lr=0.5):
    equal = [1 / len(losses)] * len(losses)
    columns = {"loss": torch.tensor(losses).double(), "norm": torch.tensor(norms).double()}
    shares = torch.tensor(weights or equal, dtype=torch.float64)
    many = torch.full((len(losses),), 10)
    return Facts(torch.arange(len(losses)), many, shares, LocalTraining(lr=lr), columns)


def stepped(rule, rows, facts):
    rows = torch.tensor(rows, dtype=torch.float64)
    aggregate = (facts.weights * rule.factors(facts)) @ rows
    return rule.step(torch.zeros(rows.shape[1], dtype=torch.float64), aggregate, rule.init(), 1.0, facts)[0]


def test_a_step_is_that_of_the_hand_calculation():
    """L = 2, F = 1 and 4: (1 (1, 0) + 4 (0, 2)) / (1 + 2 1 + 4 + 2 4) = (1, 8) / 15."""
    rows, facts = [[1.0, 0.0], [0.0, 2.0]], told([1.0, 4.0], [1.0, 2.0])
    assert QFFL(1.0).factors(facts).tolist() == pytest.approx([0.25, 1.0])
    assert stepped(QFFL(1.0), rows, facts).tolist() == pytest.approx([1 / 15, 8 / 15])
    short = stepped(QFFL(1.0, lipschitz=0.5), rows, facts)  # over 1 + 1/2 + 4 + 1/2 4
    assert short.tolist() == pytest.approx([1 / 7.5, 8 / 7.5])
    weighted = told([1.0, 4.0], [1.0, 2.0], [0.75, 0.25])  # (3 (1, 0) + 4 (0, 2)) / (3 3 + 12)
    assert stepped(QFFL(1.0), rows, weighted).tolist() == pytest.approx([3 / 21, 8 / 21])


def test_with_q_0_it_is_the_mean():
    rows, facts = [[1.0, 0.0], [0.0, 2.0]], told([1.0, 4.0], [1.0, 2.0])
    assert stepped(QFFL(0.0), rows, facts).tolist() == [0.5, 1.0]


def test_a_stated_loss_counts_up_to_the_bound():
    facts = told([1.0, 1e300], [1.0, 1.0])
    assert QFFL(2.0).factors(facts)[0] < 1e-80
    assert QFFL(2.0, max_loss=10.0).factors(facts).tolist() == pytest.approx([0.01, 1.0])


def test_what_a_client_states_that_the_defense_left_out_is_no_matter():
    """By hand: (1, 0) over 1 + 2, whatever the other one says of its length."""
    rows = [[1.0, 0.0], [0.0, 2.0]]
    for length in (1.0, 1e200):
        facts = told([1.0, 1e-12], [1.0, length], [1.0, 0.0])
        assert stepped(QFFL(1.0), rows, facts).tolist() == pytest.approx([1 / 3, 0.0])


@pytest.mark.parametrize(("q", "vectorize"), [(1.0, "on"), (1.0, "off"), (3.0, "on")])
def test_the_engine_follows_the_recursion_on_two_clients(q, vectorize):
    """F_i = a_i/2 (x - b_i)^2, and a step takes y to b (1 - r) + r y, r = (1 - lr a)^10."""
    found = steps(by_the_engine(PluginSpec("qffl", {"q": q}), training(10), 15, vectorize=vectorize))
    (a, b), x, lr = T1, 0.0, 0.05
    for step in found:
        losses, u = a / 2 * (x - b) ** 2, (1 - (1 - lr * a) ** 10) * (b - x)
        x += float((losses**q * u).sum() / (losses**q + q * losses ** (q - 1) * u**2 / lr).sum())
        assert float(step.state.params) == pytest.approx(x, abs=2e-5)


def test_the_worse_served_client_is_served_better_than_by_fedavg():
    """T1: the larger of the two losses at the end."""
    a, b = T1
    worst = []
    for spec in (PluginSpec("fedavg"), PluginSpec("qffl", {"q": 2.0})):
        x = float(steps(by_the_engine(spec, training(10), 60))[-1].state.params)
        worst.append(np.max(a / 2 * (x - b) ** 2))
    assert worst[1] < worst[0]


@pytest.mark.parametrize("options", [{"q": -1.0}, {"q": float("nan")}, {"max_loss": 0.0}, {"lipschitz": 0.0}])
def test_what_cannot_be_is_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        QFFL(**options)
