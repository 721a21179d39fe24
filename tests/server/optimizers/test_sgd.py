"""FedAvg and FedAvgM against a two-client quadratic with known rounds, and against torch.optim."""

import pytest
import torch

from gauntlet.server.optimizers.sgd import SGD

A, B = torch.tensor([1.0, 4.0]).double(), torch.tensor([1.0, -1.0]).double()


def rounds(optimizer, count):
    """Return x after each round: clients a/2 (x - b)^2, ten steps of 0.05, equal weights.

    After ten steps client i stands at b + (1 - 0.05 a)^10 (x - b).
    """
    x, state, trace = torch.zeros(1).double(), optimizer.init(), []
    for _ in range(count):
        update = B + (1 - 0.05 * A) ** 10 * (x - B) - x
        x, state = optimizer.step(x, update.mean().reshape(1), state)
        trace.append(float(x))
    return trace


def test_fedavg_walks_the_known_rounds_to_its_biased_fixed_point():
    """Toy T1 of the algorithms' specification: rounds 1, 2, 5, 10 and the limit (x* is -0.6)."""
    trace = rounds(SGD(), 100)
    expected = [-0.2456813784, -0.3324205553, -0.3776733848, -0.3797451077, -0.3797565348]
    assert [trace[i] for i in (0, 1, 4, 9, 99)] == pytest.approx(expected, abs=1e-10)


def test_fedavgm_walks_the_known_rounds_to_the_same_fixed_point():
    """Toy T1: beta 0.9 from 0, rounds 1 to 3; the limit is FedAvg's."""
    trace = rounds(SGD(momentum=0.9), 600)
    assert trace[:3] == pytest.approx([-0.2456813784, -0.5535337958, -0.7181767388], abs=1e-10)
    assert trace[-1] == pytest.approx(-0.3797565348, abs=1e-9)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_steps_equal_torchs_sgd_on_the_negative_aggregate(momentum, nesterov):
    """Oracle: torch.optim.SGD, whose gradient is minus the aggregate."""
    stream = torch.Generator().manual_seed(0)
    ours, state = torch.zeros(6), None
    theirs = torch.zeros(6, requires_grad=True)
    torchs = torch.optim.SGD([theirs], lr=0.3, momentum=momentum, nesterov=nesterov)
    optimizer = SGD(lr=0.3, momentum=momentum, nesterov=nesterov)
    for _ in range(6):
        aggregate = torch.randn(6, generator=stream)
        ours, state = optimizer.step(ours, aggregate, state)
        theirs.grad = -aggregate
        torchs.step()
        torch.testing.assert_close(ours, theirs.detach())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_warm_up_equals_torchs_linear_schedule(momentum):
    """Oracle: torch.optim.SGD with LinearLR from a quarter, which reaches lr at the fourth step and stays."""
    stream = torch.Generator().manual_seed(1)
    ours, state = torch.zeros(6), None
    theirs = torch.zeros(6, requires_grad=True)
    torchs = torch.optim.SGD([theirs], lr=0.3, momentum=momentum)
    schedule = torch.optim.lr_scheduler.LinearLR(torchs, start_factor=0.25, total_iters=3)
    optimizer = SGD(lr=0.3, momentum=momentum, warmup_rounds=4)
    for _ in range(6):
        aggregate = torch.randn(6, generator=stream)
        ours, state = optimizer.step(ours, aggregate, state)
        theirs.grad = -aggregate
        torchs.step()
        schedule.step()
        torch.testing.assert_close(ours, theirs.detach())


def test_a_step_of_one_adds_the_aggregate_to_the_last_bit():
    params, aggregate = torch.tensor([0.1, 1e-8, 3.0]), torch.tensor([0.2, 1.0, -3.0])
    assert torch.equal(SGD().step(params, aggregate, None)[0], params + aggregate)


@pytest.mark.parametrize(
    "options", [{"lr": 0.0}, {"momentum": 1.0}, {"momentum": -0.1}, {"warmup_rounds": -1}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        SGD(**options)
