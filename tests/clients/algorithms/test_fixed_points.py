"""Two clients with f_i(x) = a_i/2 (x - b_i)^2, a = (1, 4), b = (1, -1), start 0, lr = 0.05.

Closed form: y_i = c_i + q_i (x - c_i) with q_i = (1 - lr (a_i + mu))^K and c_i = (a_i b_i + mu x)/(a_i + mu).
The expected values are those of that recursion, worked out in float64.
"""

import pytest

from gauntlet.clients.algorithms.fedavg import FedAvg
from gauntlet.clients.algorithms.fedprox import FedProx
from gauntlet.clients.algorithms.gradient_descent import GradientDescent
from gauntlet.core.contracts import LocalTraining

TEN = LocalTraining(local_steps=10, batch_size=0, lr=0.05)


def test_fedavg_follows_its_closed_form(toy):
    trace = toy(FedAvg(), TEN, 10)

    assert [trace[t - 1] for t in (1, 2, 5, 10)] == pytest.approx(
        [-0.2456813784, -0.3324205553, -0.3776733848, -0.3797451077], abs=2e-6
    )


def test_fedavg_stops_at_its_biased_fixed_point(toy):
    """sum p_i (1 - q_i) b_i / sum p_i (1 - q_i) = -0.3797565348, not the optimum -0.6."""
    assert toy(FedAvg(), TEN, 60)[-1] == pytest.approx(-0.3797565348, abs=2e-6)


@pytest.mark.parametrize(("mu", "limit"), [(1.0, -0.3972648975), (0.1, -0.3814673232)])
def test_fedprox_stops_nearer_to_the_optimum(toy, mu, limit):
    assert toy(FedProx(mu), TEN, 80)[-1] == pytest.approx(limit, abs=2e-6)


def test_fedprox_with_no_pull_is_fedavg_to_the_last_bit(toy):
    assert toy(FedProx(0.0), TEN, 5) == toy(FedAvg(), TEN, 5)


def test_a_strong_pull_keeps_clients_at_home(toy):
    """lr (a + mu) = 0.05 * 19 stays below 2: the steps converge, to (a b + mu x)/(a + mu), about 1/6 off."""
    weak, strong = toy(FedProx(0.0), TEN, 1)[0], toy(FedProx(15.0), TEN, 1)[0]

    assert abs(strong) < abs(weak) / 2


def test_one_full_step_is_gradient_descent(toy):
    """First step to -lr * mean(a_i (0 - b_i)) = -0.05 * 1.5 = -0.075, whatever the epochs say."""
    trace = toy(GradientDescent(), LocalTraining(local_epochs=7, lr=0.05), 2)

    assert trace[0] == pytest.approx(-0.075, abs=1e-7)
    assert trace[1] == pytest.approx(-0.075 - 0.05 * 2.5 * (0.6 - 0.075), abs=1e-7)


def test_gradient_descent_finds_the_optimum(toy):
    assert toy(GradientDescent(), LocalTraining(lr=0.05), 200)[-1] == pytest.approx(-0.6, abs=1e-6)
