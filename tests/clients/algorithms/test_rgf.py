"""Oracles: on a linear function finite differences along all axes are the gradient; counted queries."""

import pytest
import torch
from black_boxes import Box, mean_of, play, quadratics

from gauntlet.clients.algorithms import ALGORITHMS
from gauntlet.clients.algorithms.parts.black_box import Queries
from gauntlet.clients.algorithms.rgf import RGF
from gauntlet.core.contracts import Facts, LocalTraining
from gauntlet.core.errors import ScenarioError
from gauntlet.core.seeds import generator
from gauntlet.server.simulation import prepare
from gauntlet.sims.scenario import make_scenario


def visit(function, round_=0, size=3):
    return Box(function, round_, 0, torch.zeros(size), {}, {"slope": torch.zeros(1)})


def test_as_many_directions_as_parameters_give_a_linear_functions_gradient():
    """The message of one Adam step is -lr sign(g); the estimate itself is exact to rounding."""
    slope = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    rule, box = RGF(directions=3, local_steps=1, lr=0.1), visit(lambda x: x @ slope)
    found = rule._difference(torch.zeros(3), torch.zeros(()), Queries(box), generator(0, "u"))
    torch.testing.assert_close(found.float(), slope.float(), rtol=1e-5, atol=1e-5)
    assert torch.allclose(rule.work(box).message[:3], -0.1 * slope.float().sign(), atol=1e-4)


def test_fewer_directions_give_the_gradient_on_average():
    slope = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    rule, box = RGF(directions=1), visit(lambda x: x @ slope)
    stream, ask = generator(0, "u"), Queries(box)
    found = [rule._difference(torch.zeros(3), torch.zeros(()), ask, stream) for _ in range(1500)]
    assert (torch.stack(found).mean(dim=0) - slope).abs().max() < 0.3  # over 4 standard errors


@pytest.mark.parametrize(("correction", "look"), [("none", 1), ("prox", 1), ("scaf", 1), ("diff", 4)])
def test_every_query_is_stated(correction, look):
    """T (q + 1), and 1 where one looks, q more for the differences there."""
    functions = quadratics(3, 2, 1.0)
    options = {"correction": correction, "local_steps": 2, "directions": 3}
    _, stated, asked = play("rgf", functions, torch.full((3,), 0.3), 4, **options)
    assert asked == stated == [8, 8, look, look] * 2


def test_a_correction_by_what_others_found_comes_nearer_where_clients_differ():
    functions, start = quadratics(4, 3, 3.0), torch.full((4,), 0.3)
    ends = {}
    for name in ("none", "diff", "true"):
        seen, _, _ = play("rgf", functions, start, 16, correction=name, local_steps=6, directions=4)
        ends[name] = mean_of(functions, seen[-1])
    assert ends["true"] < ends["none"]
    assert ends["diff"] < ends["none"]
    assert ends["diff"] == pytest.approx(ends["true"], abs=0.02)  # q = P: the same but for curvature


def test_the_proximal_pull_shortens_the_way():
    functions, start = quadratics(4, 3, 3.0), torch.full((4,), 0.3)
    free, held = (
        play("rgf", functions, start, 1, correction="prox", strength=s, local_steps=8, revert=False)[0][0]
        for s in (0.0, 1e3)
    )
    assert (held - start).norm() < (free - start).norm()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"correction": "x"}, "correction must be"),
        ({"mu": 0.0}, "mu must be"),
        ({"strength": -1.0}, "strength"),
    ],
)
def test_options_that_cannot_be_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        RGF(**options)


def told(queries):
    one = torch.ones(1, dtype=torch.int64)
    return Facts(one, one, torch.ones(1), LocalTraining(), {"queries": queries})


@pytest.mark.parametrize("lost", range(4))
def test_a_round_in_which_nobody_counts_is_no_value_of_0(lost):
    """F is 5 and falls: 0, which an empty round aggregates to, would be the least that there ever was."""
    rule, x, facts = RGF(correction="scaf"), torch.zeros(2), told(torch.ones(1))
    state, step, slope = rule.init(), torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])
    for t in range(8):
        update, value = (step, 5.0) if t % 2 == 0 else (torch.zeros(2), 4.0 - t / 10)
        message = torch.cat([update, torch.tensor([value]), slope])
        share = float(t != lost)
        x, state = rule.step(x, share * message, state, share, facts)
        assert share or state["slope"] is None or torch.equal(state["slope"], slope)
    assert x.tolist() == [3.0, 0.0]  # each of four steps but that which was lost, or not looked at
    assert state["best"] == pytest.approx(3.3)


@pytest.mark.parametrize(
    ("round_", "value", "steps"), [(0, -1e6, 3), (2, -1e6, 3), (1, -1e6, 4), (3, 1e6, 3)]
)
@pytest.mark.parametrize("name", ["rgf", "fzoos"])
def test_a_value_that_was_wrong_in_one_round_costs_one_step_at_most(name, round_, value, steps):
    """F falls from 5 by 1 a step, and all state it anew before each: a client may state anything once."""
    rule, x, facts = ALGORITHMS.build(name, {"correction": "none"}), torch.zeros(2), told(torch.ones(1))
    state = rule.init()
    for t in range(8):
        update = torch.tensor([1.0, 0.0]) if t % 2 == 0 else torch.zeros(2)
        stated = value if t == round_ else 5.0 - float(x[0])
        x, state = rule.step(x, torch.cat([update, torch.tensor([stated, 0.0])]), state, 1.0, facts)
    assert x.tolist() == [float(steps), 0.0]


@pytest.mark.parametrize("network", [{"name": "links", "dropout": 0.1}, {"name": "links", "jitter": 1.0}])
def test_a_network_that_may_lose_a_message_is_refused(network):
    values = {"num_clients": 3, "data": "digits", "model": "logistic_regression", "algorithm": "rgf"}
    spec = make_scenario({"name": "lost", "rounds": 2, "network": network, **values}).run_spec()
    if "jitter" in network:
        assert prepare(spec).plan.network.jitter == 1.0
        return
    with pytest.raises(ScenarioError, match=r"in every round: a network that loses no message, got 'links"):
        prepare(spec)
