"""AdaBelief, AdaGrad-Norm, Grokfast and EXAdam against known steps, as minimisers of a number."""

import pytest
import torch

from gauntlet.server.optimizers.adabelief import AdaBelief
from gauntlet.server.optimizers.adagrad_norm import AdagradNorm
from gauntlet.server.optimizers.exadam import EXAdam
from gauntlet.server.optimizers.grokfast import Grokfast


def path(optimizer, gradients, start=0.0):
    """Return where a float64 number goes that descends these gradients; a function is asked where it is."""
    x, state, found = torch.tensor([start], dtype=torch.float64), optimizer.init(), []
    for gradient in gradients:
        slope = gradient(float(x)) if callable(gradient) else gradient
        x, state = optimizer.step(x, torch.tensor([-slope], dtype=torch.float64), state)
        found.append(float(x))
    return found


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, [-0.1110424641, -0.1393867807]), ({"accumulate_eps": False}, [-0.1110424641, -0.1393996278])],
)
def test_adabelief_takes_the_known_steps(options, expected):
    """Measured with the authors' formula: gradients 1 and -.5, lr .1, beta2 .999, eps 1e-6."""
    rule = AdaBelief(lr=0.1, beta2=0.999, eps=1e-6, **options)
    assert path(rule, [1.0, -0.5]) == pytest.approx(expected, abs=2e-10)


@pytest.mark.parametrize(
    ("lr", "expected"),
    [(0.1, [0.90000500, 0.83311017, 0.78046366, 0.73623113]), (1.0, [4.99963e-5, 2.49969e-9])],
)
def test_adagrad_norm_takes_the_known_steps(lr, expected):
    """f = 5 x^2 from 1, b0 = .1."""
    found = path(AdagradNorm(lr=lr), [lambda x: 10 * x] * len(expected), start=1.0)
    assert found == pytest.approx(expected, rel=1e-5)


def test_no_step_of_adagrad_norm_is_longer_than_lr():
    stream, state, x = torch.Generator().manual_seed(0), None, torch.zeros(50)
    for size in (1e-3, 1e3, 1.0, 1e-6, 1e6):
        moved, state = AdagradNorm(lr=0.3).step(x, size * torch.randn(50, generator=stream), state)
        assert (moved - x).norm() <= 0.3 * (1 + 1e-5)
        x = moved


def test_grokfast_amplifies_what_is_slow():
    """By hand: h = 1, .98, .9604, .961192 of the aggregates 1, 0, 0, 1; the step is Delta + 2 h."""
    places = path(Grokfast(), [-1.0, 0.0, 0.0, -1.0])
    steps = [after - before for before, after in zip([0.0, *places], places, strict=False)]
    assert steps == pytest.approx([3, 1.96, 1.9208, 2.922384])
    assert path(Grokfast(start="zero"), [-1.0]) == pytest.approx([1.04])
    assert path(Grokfast(amplification=0.0), [-1.0, -0.5]) == pytest.approx([1.0, 1.5])


def test_a_grokfast_step_has_the_gain_of_its_filter():
    """Closed form: 1 + lambda for what never changes, 1 + lambda (1 - a) / (1 + a) for what always does."""
    state = None
    for number in range(2000):
        aggregate = torch.tensor([1.0, (-1.0) ** number], dtype=torch.float64)
        step, state = Grokfast().step(torch.zeros(2, dtype=torch.float64), aggregate, state)
    assert step.abs().tolist() == pytest.approx([3.0, 1 + 2 * 0.02 / 1.98])


@pytest.mark.parametrize(
    ("beta2", "eps", "expected"),
    [
        (0.999, 1e-8, [-1.595242120, -1.140374850, -1.403969808]),
        (0.99, 1e-6, [-1.588024971, -1.136573861, -1.397493704]),
    ],
)
def test_exadam_takes_the_known_steps(beta2, eps, expected):
    """Measured with the formulas of the author's code: gradients 1, -.5 and .25, lr .1."""
    assert path(EXAdam(lr=0.1, beta2=beta2, eps=eps), [1.0, -0.5, 0.25]) == pytest.approx(expected, abs=2e-9)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: AdaBelief(eps=0.0), "eps must be above 0 and finite, got 0.0"),
        (lambda: EXAdam(beta2=1.0), r"beta2 must be in \[0, 1\), got 1.0"),
        (lambda: AdagradNorm(b0=0.0), "b0 must be above 0 and finite, got 0.0"),
        (lambda: Grokfast(memory=1.0), r"memory must be in \[0, 1\), got 1.0"),
        (lambda: Grokfast(amplification=-1.0), "amplification must be at least 0 and finite, got -1.0"),
    ],
)
def test_options_out_of_range_are_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build()


@pytest.mark.parametrize("length", [1e25, 3e38])
def test_the_longest_aggregates_leave_exadam_finite(length):
    """Their squares are beyond float32; the step after them is a step still."""
    x, state = torch.zeros(2), EXAdam().init()
    for aggregate in (length, -length, 0.1, 0.1):
        x, state = EXAdam().step(x, torch.tensor([aggregate, 0.1]), state)
        assert x.isfinite().all()
        assert all(state[name].isfinite().all() for name in ("m", "v"))
