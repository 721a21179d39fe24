"""Ditto's own functions in float64: where a personal model comes to rest, on T1's two quadratic clients."""

import numpy as np
import pytest
import torch
from quadratics import T1, training

from gauntlet.clients.algorithms.ditto import Ditto
from gauntlet.core.contracts import LocalTraining

FEDAVG = -0.3797565348  # its fixed point on T1


@pytest.mark.parametrize(
    ("pull", "expected"),
    [
        (0.1, (0.8745675877, -0.9848721106)),
        (1.0, (0.3101217326, -0.8759513070)),
        (2.0, (0.0801623101, -0.7932521783)),
        (0.0, (1.0, -1.0)),  # each client's own optimum
    ],
)
def test_a_personal_model_comes_to_rest_between_its_client_and_the_global_model(pull, expected):
    """(a b + lambda x) / (a + lambda); the numbers are the toy's specification."""
    rule, (a, b) = Ditto(pull).personal, (torch.tensor(one) for one in T1)
    x, v = torch.full((2,), FEDAVG, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    how = rule.schedule(training(1))
    for _ in range(2000):
        v = v - how.lr * rule.correct(a * (v - b), v, x)

    assert v.tolist() == pytest.approx(expected, abs=1e-10)


def test_personal_models_have_a_step_size_and_a_number_of_steps_of_their_own():
    how = LocalTraining(local_epochs=3, lr=0.1, momentum=0.5)
    assert Ditto().personal.schedule(how) == how
    own = Ditto(lr=0.02, local_steps=7).personal.schedule(how)
    assert (own.lr, own.local_steps, own.momentum) == (0.02, 7, 0.5)
    assert Ditto(lr=0.02, local_steps=7).schedule(how) == how


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"pull": -0.1}, "pull must be at least 0 and finite, got -0.1"),
        ({"lr": 0.0}, "lr must be above 0 and finite, got 0"),
        ({"local_steps": 0}, "local_steps must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_is_refused(options, line):
    with pytest.raises(ValueError, match=line):
        Ditto(**options)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_a_pull_that_leads_away_from_the_received_model_is_refused(momentum):
    """Heavy ball on mu/2 v^2 converges while lr mu is below 2 (1 + momentum): by its two eigenvalues."""
    how, most = LocalTraining(lr=0.1, momentum=momentum), 20 * (1 + momentum)
    assert Ditto(most).schedule(how) is how
    with pytest.raises(ValueError, match=f"ditto: steps of lr 0.1 .* a pull of at most {most:g}"):
        Ditto(1e30).schedule(how)
    for pull, stays in ((0.99 * most, True), (1.01 * most, False)):
        step = np.array([[1 + momentum - 0.1 * pull, -momentum], [1, 0]])
        assert (abs(np.linalg.eigvals(step)).max() < 1) == stays
    with pytest.raises(ValueError, match="at most 10"):
        Ditto(11.0, lr=0.2).schedule(LocalTraining(lr=0.001))
    with pytest.raises(ValueError, match=r"at most 1e\+15"):
        Ditto(1e30).schedule(LocalTraining(optimizer="adam"))
