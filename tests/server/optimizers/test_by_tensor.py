"""Oracles: square-root Sinkhorn and TAG's denominators by hand, and what must hold of their norms."""

import pytest
import torch

from gauntlet.core.layout import Layout
from gauntlet.server.optimizers.sinkgd import SinkGD, normalized
from gauntlet.server.optimizers.task_accumulated import TaskAccumulated, cosine
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec

MATRIX = torch.tensor([[1.0, 2.0], [3.0, -4.0], [0.5, 0.1]], dtype=torch.float64)
LAYOUT = Layout(()).followed_by(weight=(3, 2), bias=(2,))


@pytest.mark.parametrize(
    ("passes", "expected"),
    [
        (1, [0.627963, 1.274091, 0.842501, -1.139582, 1.3769, 0.279363]),
        (5, [0.619978, 1.271325, 0.835014, -1.141519, 1.385055, 0.284019]),
        (60, [0.619675, 1.271221, 0.834728, -1.141591, 1.385363, 0.284198]),
    ],
)
def test_rows_and_columns_come_to_equal_lengths(passes, expected):
    """By an independent program; the squared norm is m n = 6 after a column pass."""
    found = normalized(MATRIX, passes)
    assert found.flatten().tolist() == pytest.approx(expected, abs=1e-6)
    assert float(found.square().sum()) == pytest.approx(6.0)
    assert torch.equal(found.sign(), MATRIX.sign())


def test_a_step_is_as_long_whatever_the_aggregate_and_zeros_stay():
    """Root mean square 1 a tensor: 6 numbers of the matrix and 2 of the bias, times lr."""
    aggregate = torch.cat([MATRIX.flatten(), torch.tensor([3.0, -4.0])]).float()
    for factor in (1e-20, 1.0, 1e20):
        moved, _ = SinkGD(lr=0.5).step(torch.zeros(8), factor * aggregate, None, LAYOUT)
        assert float(moved.square().sum()) == pytest.approx(0.25 * 8, rel=1e-5)
        assert moved[6:].tolist() == pytest.approx([0.5 * 0.6 * 2**0.5, -0.5 * 0.8 * 2**0.5])
    aggregate = aggregate.view(4, 2).clone()
    aggregate[0], aggregate[:3, 1] = 0.0, 0.0
    moved, _ = SinkGD(lr=0.5).step(torch.zeros(8), aggregate.flatten(), None, LAYOUT)
    assert not moved.view(4, 2)[0].any()
    assert not moved.view(4, 2)[:3, 1].any()
    assert moved.isfinite().all()


def test_in_a_run_the_optimizer_is_told_the_layout(small):
    """Each tensor's move has a root mean square of lr, which a step on the flat vector would not give."""
    simulation = prepare(small(rounds=1, server_optimizer=PluginSpec("sinkgd", {"lr": 0.5})))
    (step,) = simulation.steps(simulation.serial_pool())
    moved = simulation.plan.layout.views(step.state.params - step.outcome.broadcast.params)
    weight = next(iter(moved.values()))
    seen = weight[:, weight.abs().sum(dim=0) > 0]  # pixels that are always 0 do not move
    assert float(seen.square().sum()) == pytest.approx(0.25 * len(seen) * seen.shape[1], rel=1e-3)


def met(m, v):
    return {"m": torch.tensor(m), "v": torch.tensor(v)}


ONE = Layout(()).followed_by(weight=(2,))


@pytest.mark.parametrize(
    ("m", "first", "second"), [([0.6, 0.8], 0.228501, 0.065668), ([-1.0, 0.0], 12.18277, None)]
)
def test_earlier_tasks_count_by_how_far_they_agree(m, first, second):
    """b = 5: e^-3 v_0 + e^-5 v_1 with cos .6, e^5 v_0 + e^-5 v_1 with cos -1; by hand."""
    own, other = met(m, [x * x for x in m]), met([1.0, 0.0], [1.0, 0.0])
    below = TaskAccumulated()._weighed(ONE.parameters[0], own, [other]).sqrt()
    assert float(below[0]) == pytest.approx(first, rel=1e-5)
    assert second is None or float(below[1]) == pytest.approx(second, rel=1e-4)


def test_tasks_take_turns_and_keep_moments_of_their_own():
    rule = TaskAccumulated(lr=1.0, tasks=2, rounds_per_task=2, beta1=0.5, beta2=0.5)
    params, state = torch.zeros(2), rule.init()
    east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    for aggregate in (east, east, north, north, east):
        params, state = rule.step(params, aggregate, state, ONE)
    assert state["met"][0]["m"].tolist() == [0.875, 0.0]
    assert state["met"][1]["m"].tolist() == [0.0, 0.75]
    first, _ = rule.step(torch.zeros(2), east, rule.init(), ONE)
    assert first.tolist() == pytest.approx([2**0.5, 0.0], rel=1e-5)  # v = .5; nobody else: alpha 1


def test_the_cosine_with_nothing_is_0():
    assert cosine(torch.zeros(2), torch.ones(2)) == 0.0


@pytest.mark.parametrize(
    ("rule", "options", "said"),
    [
        (SinkGD, {"lr": 0.0}, "lr must be above 0"),
        (SinkGD, {"passes": 0}, "passes must be at least 1"),
        (TaskAccumulated, {"tasks": 0}, "tasks must be at least 1"),
        (TaskAccumulated, {"b": -1.0}, "b must be from 0 to 80, got -1"),
        (TaskAccumulated, {"b": 1000.0}, "b must be from 0 to 80, got 1000"),  # exp(b) is no number
        (TaskAccumulated, {"eps": float("nan")}, "eps must be above 0 and finite, got nan"),
        (SinkGD, {"lr": float("nan")}, "lr must be above 0 and finite, got nan"),
    ],
)
def test_options_that_cannot_be_are_refused(rule, options, said):
    with pytest.raises(ValueError, match=said):
        rule(**options)
