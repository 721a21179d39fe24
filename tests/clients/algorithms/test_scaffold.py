"""SCAFFOLD's own functions in float64 on quadratics: two clients (T1), and 100 of whom 10 take part (T2).

The expected traces are those of the two toys' specification, worked out in float64 without this package;
option I's recursion is written out below.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from quadratics import OPTIMUM, T1, by_functions, t2, training

from gauntlet.clients.algorithms.scaffold import Scaffold, momentum_steps
from gauntlet.core.contracts import LocalTraining

EVERYBODY = [np.arange(2)] * 20


def test_option_two_follows_its_trace_on_two_clients():
    trace, _, _ = by_functions(Scaffold(), *T1, training(10), EVERYBODY, 0.0)

    assert trace[[0, 1, 4, 9, 19]] == pytest.approx(
        [-0.2456813784, -0.4476456338, -0.6023734396, -0.6000491383, -0.6000000254], abs=1e-10
    )
    errors = abs(trace[[0, 1, 4, 9, 19]] - OPTIMUM)
    assert errors == pytest.approx([0.3543, 0.1524, 2.373e-3, 4.914e-5, 2.540e-8], rel=5e-4)


def test_option_one_follows_its_recursion_and_reaches_the_optimum():
    """c_i is the gradient at x: y_i goes to b_i - (c - c_i) / a_i at the rate q_i = (1 - lr a_i)^K."""
    (a, b), x, expected = T1, 0.0, []
    c, own, q = 0.0, np.zeros(2), (1 - 0.05 * T1[0]) ** 10
    for _ in range(40):
        goal = b - (c - own) / a
        y = goal + q * (x - goal)
        fresh = a * (x - b)
        c, own, x = c + (fresh - own).mean(), fresh, y.mean()
        expected.append(x)
    trace, _, _ = by_functions(Scaffold("I"), *T1, training(10), EVERYBODY * 2, 0.0)

    assert trace == pytest.approx(np.array(expected), abs=1e-13)
    assert abs(trace[-1] - OPTIMUM) < 1e-15


def test_partial_participation_reaches_the_optimum_of_all_clients():
    """T2: |x - x*| after rounds 10, 50, 200 and 800."""
    a, b, cohorts = t2()
    trace, state, clients = by_functions(Scaffold(), a, b, training(10), cohorts, 3.0)
    errors = abs(trace[[9, 49, 199, 799]] - (a * b).sum() / a.sum())

    assert errors[:3] == pytest.approx([0.348, 0.0174, 1.5e-7], rel=0.05)
    assert errors[3] < 1e-14
    mean = torch.stack([clients[i] for i in range(100)]).mean()
    assert float(state["control"]) == pytest.approx(float(mean), abs=1e-14)


@pytest.mark.parametrize("option", ["I", "II"])
def test_the_servers_control_is_the_mean_of_all_clients_after_every_round(option):
    a, b, cohorts = t2()
    for rounds in (1, 2, 7, 30):
        _, state, clients = by_functions(Scaffold(option), a, b, training(3), cohorts[:rounds], 3.0)
        total = sum(float(row) for row in clients.values())
        assert float(state["control"]) == pytest.approx(total / 100, abs=1e-13)
        assert len(clients) == len(set(np.concatenate(cohorts[:rounds])))


@dataclass(frozen=True)
class Reversed(Scaffold):
    """Stores c_i - c + (y - x) / (K lr): the sign that pfl-research ships."""

    def finish(self, update, received, shared, own, work):
        change = update / (work.steps * work.training.lr) - shared["control"]
        return {"update": update, "control": change}, {"control": own["control"] + change}


def test_with_the_other_sign_it_would_leave_the_optimum():
    """1.52, 19.1 and 2.99e3 away after rounds 5, 10 and 20: the toy tells the signs apart."""
    trace, _, _ = by_functions(Reversed(), *T1, training(10), EVERYBODY, 0.0)
    assert abs(trace[[4, 9, 19]] - OPTIMUM) == pytest.approx([1.52, 19.1, 2.99e3], rel=5e-3)


@pytest.mark.parametrize("option", ["I", "II"])
def test_one_full_step_is_gradient_descent(option):
    """x goes to x - lr mean(a_i (x - b_i)): -0.075 first, and again in the next rounds."""
    trace, _, _ = by_functions(Scaffold(option), *T1, training(1), EVERYBODY, 0.0)
    assert trace[0] == pytest.approx(-0.075, abs=1e-12)
    x, (a, b) = 0.0, T1
    for found in trace:
        x -= 0.05 * (a * (x - b)).mean()
        assert found == pytest.approx(x, abs=1e-12)


def test_momentum_counts_as_its_steps_do():
    """FedNova's a: 13.1441 for five steps of 0.9, 41.381059609 for ten; without momentum the steps."""
    steps = torch.tensor([5.0, 10.0], dtype=torch.float64)

    assert momentum_steps(steps, 0.9).tolist() == pytest.approx([13.1441, 41.381059609], abs=1e-8)
    assert momentum_steps(steps, 0.0).tolist() == [5.0, 10.0]


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="option must be I or II, got 'III'"):
        Scaffold("III")
    with pytest.raises(ValueError, match="server_lr must be above 0 and finite, got 0"):
        Scaffold(server_lr=0)
    with pytest.raises(ValueError, match=r"scaffold needs training.optimizer = 'sgd', got 'adam'"):
        Scaffold().schedule(LocalTraining(optimizer="adam"))
