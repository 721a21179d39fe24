"""FedDyn's own functions in float64 on quadratics: two clients (T1), and 100 of whom 10 take part (T2).

The expected values are those of the two toys' specification, worked out in float64 without this package.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from quadratics import OPTIMUM, T1, by_functions, t2, training

from gauntlet.clients.algorithms.feddyn import FedDyn


@dataclass(frozen=True)
class Noted(FedDyn):
    """Keeps every round's mean model in a list of the test's."""

    seen: list = None

    def extra(self, params, state):
        return torch.zeros(0, len(params))

    def step(self, params, aggregate, state, share):
        params, state = super().step(params, aggregate, state, share)
        self.seen.append(float(state["mean"]))
        return params, state


def test_two_clients_follow_their_trace():
    """alpha 1, 200 steps: first the mean -0.15 and x -0.3; then |mean - x*|, and |x - x*| after 10 rounds."""
    rule = Noted(1.0, [])
    trace, state, clients = by_functions(rule, *T1, training(200), [np.arange(2)] * 60, 0.0)
    errors = abs(np.array(rule.seen) - OPTIMUM)

    assert (rule.seen[0], trace[0]) == pytest.approx((-0.15, -0.30), abs=1e-4)
    assert errors[[0, 4, 9]] == pytest.approx([0.450, 0.0656, 3.52e-3], rel=2e-3)
    assert errors[29] == pytest.approx(8.94e-9, rel=1e-2)
    assert errors[59] < 1e-14
    assert abs(trace[9] - OPTIMUM) == pytest.approx(5.86e-4, rel=2e-3)
    assert float(state["slope"]) == pytest.approx(float(sum(clients.values())) / 2, abs=1e-14)


def test_one_full_step_moves_the_mean_model_by_a_gradient_and_x_twice_as_far():
    """-0.075 and -0.15 at alpha 1 and step size 0.05: h takes the update once more, whatever alpha is."""
    for alpha in (1.0, 0.3):
        rule = Noted(alpha, [])
        trace, _, _ = by_functions(rule, *T1, training(1), [np.arange(2)], 0.0)
        assert (rule.seen[0], trace[0]) == pytest.approx((-0.075, -0.15), abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("alpha", "expected"), [(3.0, [9.9e-5, 1.2e-6, 2.3e-11]), (1.0, [4.2e-4, 3.6e-4, 7.9e-8])]
)
def test_partial_participation_reaches_the_optimum_of_all_clients(alpha, expected):
    """T2, 200 steps: |mean - x*| after 100, 200 and 400 rounds."""
    a, b, cohorts = t2()
    rule = Noted(alpha, [])
    _, state, clients = by_functions(rule, a, b, training(200), cohorts[:400], 3.0)

    errors = abs(np.array(rule.seen)[[99, 199, 399]] - (a * b).sum() / a.sum())
    assert errors == pytest.approx(expected, rel=0.06)
    assert float(state["slope"]) == pytest.approx(float(sum(clients.values())) / 100, abs=1e-12)


def test_the_regulariser_must_be_there():
    with pytest.raises(ValueError, match="alpha must be above 0 and finite, got 0"):
        FedDyn(0)
