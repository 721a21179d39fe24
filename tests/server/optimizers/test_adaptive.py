"""Adam, Yogi and Adagrad against known first steps (toy T3), hand calculations and torch.optim."""

import pytest
import torch

from gauntlet.server.optimizers.adagrad import Adagrad
from gauntlet.server.optimizers.adam import Adam
from gauntlet.server.optimizers.yogi import Yogi

X, DELTA = torch.tensor([0.1], dtype=torch.float64), torch.tensor([0.5], dtype=torch.float64)
"""Clients at 0.2 and 1.0, equal weights, from 0.1: the mean update is 0.5."""


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (Adam(v0="zero"), 0.19803922),
        (Yogi(v0="zero"), 0.19803922),
        (Adam(), 0.19802019),
        (Yogi(), 0.19802000),
        (Adam(v0="zero", bias_correction="flower"), 0.17279018),
        (Adam(v0="zero", bias_correction="adam"), 0.19980040),
        (Adagrad(tau=0.5, v0="zero"), 0.15),
    ],
    ids=repr,
)
def test_the_first_step_is_the_known_one(optimizer, expected):
    """Toy T3 of the algorithms' specification; 0.15 is Flower's own test of FedAdagrad."""
    x, _ = optimizer.step(X, DELTA, optimizer.init())
    assert float(x) == pytest.approx(expected, abs=5e-9)


def test_adagrad_starts_at_tau_squared():
    """By hand: v = 0.25 + 0.25, so x = 0.1 + 0.1 * 0.5 / (sqrt(0.5) + 0.5)."""
    x, state = Adagrad(tau=0.5).step(X, DELTA, None)
    assert float(state["v"]) == 0.5
    assert float(x) == pytest.approx(0.1 + 0.05 / (0.5**0.5 + 0.5), abs=1e-12)


def test_yogis_second_moment_moves_by_a_hundredth_of_the_square():
    """By hand, v0 = 0: 0 + .0025 (sign -1), then towards .01 by .0001, then it stands at v = Delta^2."""
    state = None
    for aggregate, v in ((0.5, 0.0025), (0.01**0.5, 0.0026), (0.0, 0.0026)):
        _, state = Yogi(v0="zero").step(X, torch.tensor([aggregate], dtype=torch.float64), state)
        assert float(state["v"]) == pytest.approx(v, abs=1e-12)
    still = {"m": torch.zeros(1).double(), "v": torch.tensor([0.25]).double()}
    assert float(Yogi().step(X, DELTA, still)[1]["v"]) == 0.25


def test_yogi_forgets_large_squares_more_slowly_than_adam():
    """By hand: from v = 1 with Delta = 0.5, Adam goes to .99 + .0025, Yogi to 1 - .0025."""
    start = {"m": torch.zeros(1).double(), "v": torch.ones(1).double()}
    assert float(Adam().step(X, DELTA, {**start, "t": 0})[1]["v"]) == pytest.approx(0.9925)
    assert float(Yogi().step(X, DELTA, start)[1]["v"]) == pytest.approx(0.9975)


@pytest.mark.parametrize("optimizer", [Adam(), Yogi(), Adagrad()], ids=repr)
def test_aggregates_whose_squares_overflow_make_no_nan(optimizer):
    """What colluders may send: 3e38 squared is infinite, and a difference of infinities is no number."""
    params, state = torch.zeros(2), optimizer.init()
    for scale in (1.0, 1.0, -1.0, 1.0):
        params, state = optimizer.step(params, torch.tensor([scale * 3e38, 0.5]), state)
        assert bool(params.isfinite().all())
    assert float(params[1]) > 0


@pytest.mark.parametrize(
    ("optimizer", "torchs"),
    [
        (
            Adam(lr=0.1, tau=1e-2, v0="zero", bias_correction="adam"),
            lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.9, 0.99), eps=1e-2),
        ),
        (
            Adagrad(lr=0.1, tau=1e-2),
            lambda p: torch.optim.Adagrad(p, lr=0.1, initial_accumulator_value=1e-4, eps=1e-2),
        ),
    ],
    ids=["adam", "adagrad"],
)
def test_ten_steps_equal_torchs_on_the_negative_aggregate(optimizer, torchs):
    """Oracle: torch.optim, whose gradient is minus the aggregate."""
    stream = torch.Generator().manual_seed(0)
    ours, state = torch.zeros(6), optimizer.init()
    theirs = torch.zeros(6, requires_grad=True)
    other = torchs([theirs])
    for _ in range(10):
        aggregate = torch.randn(6, generator=stream)
        ours, state = optimizer.step(ours, aggregate, state)
        theirs.grad = -aggregate
        other.step()
        torch.testing.assert_close(ours, theirs.detach())


def test_flowers_step_size_is_one_step_ahead():
    """By hand at the second step: lr * sqrt(1 - .99^3) / (1 - .9^3), moments of two equal aggregates."""
    optimizer = Adam(v0="zero", bias_correction="flower")
    x1, state = optimizer.step(X, DELTA, None)
    x2, _ = optimizer.step(x1, DELTA, state)
    lr = 0.1 * (1 - 0.99**3) ** 0.5 / (1 - 0.9**3)
    m, v = 0.5 * (1 - 0.9**2), 0.25 * (1 - 0.99**2)
    assert float(x2 - x1) == pytest.approx(lr * m / (v**0.5 + 1e-3), rel=1e-12)


@pytest.mark.parametrize(
    ("make", "options", "complaint"),
    [
        (Adam, {"beta2": 1.0}, r"beta2 must be in \[0, 1\), got 1.0"),
        (Yogi, {"beta1": -0.5}, r"beta1 must be in \[0, 1\), got -0.5"),
        (Adagrad, {"tau": 0.0}, "tau must be above 0 and finite, got 0.0"),
        (Adam, {"lr": -1.0}, "lr must be above 0 and finite, got -1.0"),
    ],
)
def test_options_out_of_range_are_refused(make, options, complaint):
    with pytest.raises(ValueError, match=complaint):
        make(**options)
