"""Core algorithms at other settings than the toys' own, against recursions written out here in numpy.

Two quadratic clients (T1): with q_i = (1 - lr (a_i + mu))^K_i client i ends at c_i + q_i (x - c_i), where
c_i = (a_i b_i + mu x + s_i) / (a_i + mu) and s_i is what its gradient lacks. Nothing here is read off the
implementation.
"""

import numpy as np
import pytest
from core_rounds import rounds
from quadratics import OPTIMUM, T1, t2, training

from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.algorithms.feddyn import FedDyn
from gauntlet.clients.algorithms.fednova import FedNova
from gauntlet.clients.algorithms.fedprox import FedProx
from gauntlet.clients.algorithms.scaffold import Scaffold
from gauntlet.core.contracts import LocalTraining
from gauntlet.server.optimizers.sgd import SGD

A, B = T1
UNEVEN = (3, 8)


def ends(x, how, steps, mu=0.0, lacks=0.0):
    """Return where the clients end that begin at x.  # [2]"""
    centre = (A * B + mu * x + lacks) / (A + mu)
    return centre + (1 - how.lr * (A + mu)) ** np.array(steps) * (x - centre)


@pytest.mark.parametrize("lr", [0.02, 0.15])
@pytest.mark.parametrize("weights", [(0.5, 0.5), (0.2, 0.8)])
def test_fedavg_follows_its_closed_form_for_other_steps_and_weights(lr, weights):
    how, x, expected = training(8, lr), 0.0, []
    for _ in range(12):
        x = float(np.dot(weights, ends(x, how, UNEVEN)))
        expected.append(x)
    assert rounds(FedAvg(), how, 12, weights=weights, steps=UNEVEN)[0] == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize(("mu", "steps"), [(0.3, (3, 8)), (2.0, (8, 3)), (5.0, (1, 20))])
def test_fedprox_follows_its_closed_form_with_unequal_steps(mu, steps):
    how, x, expected = training(max(steps)), 0.0, []
    for _ in range(12):
        x = ends(x, how, steps, mu).mean()
        expected.append(x)
    assert rounds(FedProx(mu), how, 12, steps=steps)[0] == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize(("beta", "server_lr"), [(0.5, 1.0), (0.9, 0.3)])
def test_fedavgm_adds_its_velocity_up_at_other_settings(beta, server_lr):
    x, v, expected = 0.0, 0.0, []
    for _ in range(12):
        v = beta * v + (ends(x, training(10), 10) - x).mean()
        x += server_lr * v
        expected.append(x)
    found = rounds(FedAvg(), training(10), 12, optimizer=SGD(lr=server_lr, momentum=beta))[0]
    assert found == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize(
    ("option", "server_lr", "lr"), [("II", 0.5, 0.05), ("I", 0.5, 0.02), ("II", 1.3, 0.02)]
)
def test_scaffolds_server_steps_by_its_step_size_and_keeps_the_controls_as_they_are(option, server_lr, lr):
    """x += server_lr mean(u), c += mean(dc); c_i becomes c_i - c + (x - y) / (K lr), or the gradient at x."""
    how, x, c, own, expected = training(7, lr), 0.0, 0.0, np.zeros(2), []
    for _ in range(40):
        y = ends(x, how, 7, lacks=own - c)
        fresh = A * (x - B) if option == "I" else own - c + (x - y) / (7 * lr)
        c, own, x = c + (fresh - own).mean(), fresh, x + server_lr * (y - x).mean()
        expected.append(x)
    found, state, _ = rounds(Scaffold(option, server_lr), how, 40)
    assert found == pytest.approx(expected, abs=1e-12)
    assert float(state["control"]) == pytest.approx(c, abs=1e-12)


@pytest.mark.parametrize("local", [{"local_steps": 7}, {"local_epochs": 7}])
def test_a_change_of_control_is_as_long_as_an_update_on_its_way(local):
    """Controls are gradients; an update is K lr of them."""
    how = LocalTraining(**local, lr=0.05)
    assert Scaffold().scales(how) == {"control": pytest.approx(1 / (7 * 0.05))}


def test_scaffold_finds_the_optimum_from_another_start_that_all_controls_share():
    """T2: below 1e-14 after 800 rounds, as from 0; what differs is the way."""

    class Shared(Scaffold):
        def start(self, params):
            return {"control": params * 0 - 2}

        def extra(self, params, state):
            return params[None] * 0 - 2 if state["control"] is None else state["control"][None]

    a, b, cohorts = t2()
    trace = rounds(Shared(), training(10), 800, (a, b), cohorts=cohorts, start=3.0)[0]
    assert abs(trace[-1] - (a * b).sum() / a.sum()) < 1e-14


def test_fedavg_does_not_find_it_where_a_tenth_takes_part():
    """T2: a mean error of .27 over rounds 401 to 800."""
    a, b, cohorts = t2()
    trace = rounds(FedAvg(), training(10), 800, (a, b), cohorts=cohorts, start=3.0)[0]
    assert abs(trace[400:] - (a * b).sum() / a.sum()).mean() == pytest.approx(0.27, abs=0.005)


@pytest.mark.parametrize(("alpha", "steps"), [(2.5, 7), (0.4, 40)])
def test_feddyn_follows_its_recursion_at_other_settings(alpha, steps):
    """y minimises f_i - <h_i, y> + alpha/2 (y - x)^2 by so many steps; x is the mean model less h / alpha."""
    how, x, h, own, expected = training(steps, 0.03), 0.0, 0.0, np.zeros(2), []
    for _ in range(25):
        y = ends(x, how, steps, alpha, own)
        own = own - alpha * (y - x)
        h = h - alpha * (y - x).mean()
        x = y.mean() - h / alpha
        expected.append(x)
    found, state, _ = rounds(FedDyn(alpha), how, 25)
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert float(state["mean"]) == pytest.approx(y.mean(), rel=1e-12)


def counted(steps, pull):
    """Return how far gradients of 1 have gone after so many steps, over lr."""
    gone = 0.0
    for _ in range(steps):
        gone += 1 - pull * gone
    return gone


@pytest.mark.parametrize("tau_eff", ["mean", "steps"])
@pytest.mark.parametrize(("mu", "server_lr", "momentum"), [(0.0, 0.4, 0.0), (3.0, 1.0, 0.0), (3.0, 0.4, 0.6)])
def test_fednova_steps_by_its_step_size_momentum_and_effective_steps(tau_eff, mu, server_lr, momentum):
    """v = gmf v + tau sum p_i u_i / a_i and x += server_lr v; tau is sum p_i a_i, or sum p_i K_i.

    With weights of .2 and .8: 1/2 each in either sum would move elsewhere.
    """
    how, p, x, v, expected = training(8, 0.05), np.array([0.2, 0.8]), 0.0, 0.0, []
    each = np.array([counted(k, how.lr * mu) for k in UNEVEN])
    tau = p @ (each if tau_eff == "mean" else UNEVEN)
    for _ in range(15):
        v = momentum * v + tau * (p * (ends(x, how, UNEVEN, mu) - x) / each).sum()
        x += server_lr * v
        expected.append(x)
    rule = FedNova(mu, 1.0, tau_eff, server_lr=server_lr, server_momentum=momentum)
    assert rounds(rule, how, 15, weights=p, steps=UNEVEN)[0] == pytest.approx(expected, abs=1e-12)


def test_another_effective_number_of_steps_has_the_same_rest_and_another_way():
    """Equal work and a pull: FedAvg with ``mean``, and K / a times its step with ``steps``."""
    how = training(8, 0.05)
    plain, same, other = (
        rounds(rule, how, 1)[0][0] for rule in (FedProx(3.0), FedNova(3.0, 1.0), FedNova(3.0, 1.0, "steps"))
    )
    assert same == pytest.approx(plain, rel=1e-13)
    assert other == pytest.approx(plain * 8 / counted(8, 0.15), rel=1e-13)


@pytest.mark.parametrize("lr", [0.01, 0.1])
def test_where_nobody_drifts_all_exact_methods_agree_on_the_optimum(lr):
    """One step a round: the rest of GD, whatever the step size."""
    for rule in (FedAvg(), Scaffold(), Scaffold("I"), FedNova()):
        assert rounds(rule, training(1, lr), 1, start=OPTIMUM)[0] == pytest.approx(OPTIMUM, abs=1e-15)
