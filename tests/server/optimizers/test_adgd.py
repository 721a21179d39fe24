"""AdGD on quadratics, by hand."""

import pytest
import torch

from gauntlet.server.optimizers.adgd import AdGD


def descend(rule, curvatures, start, rounds):
    """Return where x goes under gradient steps on sum L_j/2 x_j^2, and each round's step size."""
    x, state, trace, steps = torch.tensor(start, dtype=torch.float64), rule.init(), [], []
    for _ in range(rounds):
        x, state = rule.step(x, -torch.tensor(curvatures, dtype=torch.float64) * x, state)
        trace.append(x.tolist())
        steps.append(state["lr"])
    return trace, steps


def test_one_curvature_is_known_after_one_step():
    """f = 2 x^2, L = 4: 1 goes to 1 - .01 * 4 = .96, then every step is 1 / (2 L) = 1/8 and halves x."""
    trace, steps = descend(AdGD(lr=0.01), [4.0], [1.0], 4)
    assert steps == pytest.approx([0.01, 0.125, 0.125, 0.125], abs=1e-12)
    assert [x for (x,) in trace] == pytest.approx([0.96, 0.48, 0.24, 0.12], abs=1e-12)


def test_a_step_grows_by_no_more_than_the_root_of_one_plus_the_last_ratio():
    """Curvatures 1 and 10: the paper's recursion, written out in plain numbers."""
    curves, x, lr, theta, before, expected = (1.0, 10.0), [1.0, 1.0], 0.01, None, None, []
    for _ in range(30):
        g = [c * v for c, v in zip(curves, x, strict=True)]
        if before is not None:
            way = sum((a - b) ** 2 for a, b in zip(x, before[0], strict=True)) ** 0.5
            turn = sum((a - b) ** 2 for a, b in zip(g, before[1], strict=True)) ** 0.5
            new = way / (2 * turn) if theta is None else min((1 + theta) ** 0.5 * lr, way / (2 * turn))
            theta, lr = new / lr, new
        before = (x, g)
        x = [v - lr * s for v, s in zip(x, g, strict=True)]
        expected.append(lr)
    trace, steps = descend(AdGD(lr=0.01), list(curves), [1.0, 1.0], 30)
    assert steps == pytest.approx(expected, rel=1e-9)
    assert max(abs(v) for v in trace[-1]) < 1e-2
    assert all(step <= 0.5 for step in steps)  # 1 / (2 L) of the flattest direction


def test_the_first_step_size_hardly_matters():
    ends = [descend(AdGD(lr=lr), [1.0, 10.0], [1.0, 1.0], 40)[0][-1] for lr in (1e-4, 1e-2, 0.19)]
    assert all(max(map(abs, end)) < 5e-3 for end in ends)


def test_where_nothing_changed_the_step_size_stays_and_it_is_bounded():
    rule, x, state = AdGD(lr=1.0, max_lr=2.0), torch.zeros(2), None
    for _ in range(3):
        x, state = rule.step(x, torch.zeros(2), state)
    assert state["lr"] == 1.0
    x, state = rule.step(x, torch.ones(2), state)
    x, state = rule.step(x, torch.ones(2) * (1 + 1e-3), state)
    assert state["lr"] == 2.0


def test_the_longest_aggregates_leave_a_step_size_that_is_finite_and_above_0():
    rule, x, state = AdGD(), torch.zeros(3), None
    for aggregate in (torch.ones(3), torch.full((3,), 3e38), torch.full((3,), -3e38), torch.ones(3)):
        x, state = rule.step(x, aggregate, state)
        x = x.clamp(-1e38, 1e38)
        assert 0 < state["lr"] <= 10


@pytest.mark.parametrize(
    ("options", "line"),
    [({"lr": 0.0}, "lr must be above 0, got 0"), ({"lr": 2.0, "max_lr": 1.0}, "max_lr must be at least lr")],
)
def test_options_out_of_range_are_refused(options, line):
    with pytest.raises(ValueError, match=line):
        AdGD(**options)


def test_one_very_long_message_is_grown_back_from_also_where_steps_are_too_short_for_a_float32():
    rule, curves, x, state = AdGD(), torch.tensor([1.0, 2.0, 0.5]), torch.ones(3), None
    for t in range(300):
        attacked = torch.tensor([1e30 if t == 5 else 0.0, 0.0, 0.0])
        x, state = rule.step(x, -curves * x + attacked, state)
    assert state["lr"] > 0.1
    assert float(x.abs().max()) < 1e-3


def test_no_number_of_long_messages_leaves_a_step_size_of_0():
    rule, x, state = AdGD(), torch.ones(2), None
    for t in range(60):
        x, state = rule.step(x, torch.full((2,), 1e30 if t % 2 else -1.0), state)
        assert state["lr"] > 0


def test_rounds_in_which_nobody_counts_change_nothing():
    rule, x, state = AdGD(), torch.ones(2), None
    for scale in (1.0, 0.5, 0.3):
        x, state = rule.step(x, torch.full((2,), -scale), state)
    y, after = x, state
    for _ in range(4):
        y, after = rule.step(y, torch.zeros(2), after)
    assert torch.equal(y, x)
    assert after["lr"] == state["lr"]
    want, got = (rule.step(x, torch.full((2,), -0.2), one)[1]["lr"] for one in (state, after))
    assert got == want
