"""Oracles: torch's own SGD for what is planted, scores by hand, a backdoor that two other rules let in."""

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from gauntlet.core.contracts import LocalTraining
from gauntlet.core.updates import Context, OwnExamples
from gauntlet.defenses.backdoor_indicator import BackdoorIndicator
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec, RunSpec

OWN = OwnExamples(torch.arange(24.0).reshape(6, 4) / 24, torch.arange(6) % 2)


def forward(params, x, buffers=None):
    """A dense layer without a bias: two classes of four inputs."""
    return x @ params.reshape(-1, 2, 4).mT


def gradient(params, x, y):
    at = params.clone().requires_grad_()
    return torch.autograd.grad(cross_entropy(forward(at[None], x)[0], y), at)[0]


def known(round_=0, **changes):
    values = {"forward": forward, "gradient": gradient, "examples": OWN, "loss": cross_entropy} | changes
    return Context(round_, torch.linspace(-1, 1, 8), None, 3, **values)


def test_what_is_planted_is_what_sgd_finds():
    """Oracle: torch.optim.SGD with momentum on the mean loss plus pull times the distance."""
    rule = BackdoorIndicator(num_indicators=10, steps=7, lr=0.3, momentum=0.8, pull=0.2)
    context = known()
    x, y = rule.indicators(context)
    weight = context.params.clone().requires_grad_()
    optimizer = torch.optim.SGD([weight], lr=0.3, momentum=0.8)
    for _ in range(7):
        optimizer.zero_grad()
        away = (weight - context.params).square().sum()
        pull = 0.2 * away.sqrt() if float(away.detach()) > 0 else 0.0
        (cross_entropy(forward(weight[None], x)[0], y) + pull).backward()
        optimizer.step()
    planted, state = rule.prepare(context.params, rule.init(), context)
    torch.testing.assert_close(planted, weight.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(state, planted - context.params, rtol=0, atol=0)


def test_indicators_are_the_servers_pixels_in_another_order_and_every_class_alike():
    rule = BackdoorIndicator(num_indicators=10)
    x, y = rule.indicators(known())
    rows = {tuple(sorted(row)) for row in OWN.x.tolist()}
    assert all(tuple(sorted(row)) in rows for row in x.tolist())
    assert not {tuple(row) for row in x.tolist()} <= {tuple(row) for row in OWN.x.tolist()}
    assert y.bincount().tolist() == [5, 5]
    again, later = rule.indicators(known()), rule.indicators(known(1))
    assert torch.equal(x, again[0])
    assert not torch.equal(x, later[0])


def answering(classes):
    """Return a model of three classes, whose first parameter chooses a row of answers to six inputs."""

    def run(params, x, buffers=None):
        chosen = torch.tensor([classes[round(float(p[0]))] for p in params])  # [L, n]
        return one_hot(chosen, 3).float()

    return run


def test_the_score_is_the_best_class_and_the_plant_stays_in_the_aggregate(cohort, at):
    """By hand: labels 0 1 2 0 1 2. Client 5 knows class 0 half, 15 class 2 whole, 25 nothing of any.

    At 0.75 client 15 goes; what is left is the plant (0.5, 1) plus the mean of (0, 2) and (2, 4).
    """
    answers = {0: [0, 0, 0, 1, 0, 0], 1: [2, 2, 2, 2, 2, 2], 2: [1, 2, 0, 1, 2, 0]}
    updates = cohort([[0.0, 2.0], [1.0, 9.0], [2.0, 4.0]])
    updates = at(updates, forward=answering(answers), examples=OWN, params=torch.zeros(2))
    plant = torch.tensor([0.5, 1.0])
    verdict, state = BackdoorIndicator(num_indicators=6).aggregate(updates, plant)
    assert list(verdict.scores.values()) == [0.5, 1.0, 0.0]
    assert verdict.flags == {15: "malicious"}
    at_half, _ = BackdoorIndicator(threshold=0.5, num_indicators=6).aggregate(updates, plant)
    assert set(at_half.flags) == {5, 15}  # whoever has the threshold itself goes, too
    assert verdict.aggregate.tolist() == [1.5, 4.0]
    assert verdict.weights.tolist() == [0.5, 0.0, 0.5]
    assert state is plant
    alone = updates.rows(torch.tensor([False, True, False]))
    assert BackdoorIndicator(num_indicators=6).aggregate(alone, plant)[0].aggregate.tolist() == [0.0, 0.0]


def test_before_its_first_round_it_plants_nothing_and_averages_all(cohort, at):
    rule = BackdoorIndicator(num_indicators=6, start_round=2)
    params, state = rule.prepare(torch.ones(2), rule.init(), known(1))
    assert params.tolist() == [1.0, 1.0]
    verdict, _ = rule.aggregate(at(cohort([[0.0, 2.0], [2.0, 4.0]]), round_=1), state)
    assert (verdict.aggregate.tolist(), dict(verdict.flags)) == ([1.0, 3.0], {})


def test_what_it_lacks_and_what_is_out_of_range_is_refused():
    rule = BackdoorIndicator(num_indicators=2)
    with pytest.raises(ValueError, match="root_examples must be above 0"):
        rule.prepare(torch.zeros(8), rule.init(), known(examples=None))
    with pytest.raises(ValueError, match=r"context\.gradient must be given"):
        rule.prepare(torch.zeros(8), rule.init(), known(gradient=None))
    with pytest.raises(ValueError, match="num_indicators must be at least 2, got 1"):
        BackdoorIndicator(num_indicators=1).prepare(torch.zeros(8), rule.init(), known())
    for wrong in ({"threshold": 0.0}, {"steps": 0}, {"lr": 0.0}, {"momentum": 1.0}, {"pull": -1.0}):
        with pytest.raises(ValueError, match="got"):
            BackdoorIndicator(**wrong)


def backdoored(defense, rounds=10):
    """Return a run on digits in which 9 of 20 clients teach three corner pixels as class 2."""
    trigger = PluginSpec("pixel_backdoor", {"pixels": ((0, 0), (0, 7), (7, 7))})
    return RunSpec(
        seed=0,
        rounds=rounds,
        num_clients=20,
        data=PluginSpec("digits"),
        partition=PluginSpec("iid"),
        model=PluginSpec("mlp", {"hidden": [64]}),
        training=LocalTraining(local_epochs=4, batch_size=8, lr=0.1, momentum=0.5),
        roles=(RoleSpec(trigger, count=9),),
        defense=defense,
        root_examples=100,
        evaluate_every=rounds,
    )


def test_the_first_round_on_digits_names_who_teaches_a_trigger_and_hardly_anybody_else():
    simulation = prepare(backdoored(PluginSpec("backdoor_indicator"), rounds=1))
    flags = set(next(simulation.steps(simulation.serial_pool())).outcome.verdict.flags)
    liars = simulation.plan.malicious(0)
    assert len(liars & flags) >= 8
    assert len(flags - liars) <= 1


@pytest.mark.slow
def test_it_keeps_out_a_backdoor_that_multi_krum_and_the_median_let_through():
    """The claim; docs/robustness-certified.md has more seeds, and a trigger that it lets through."""
    success = {}
    for name, options in (("multi_krum", {"num_byzantine": 8}), ("median", {}), ("backdoor_indicator", {})):
        simulation = prepare(backdoored(PluginSpec(name, options)))
        score = list(simulation.steps(simulation.serial_pool()))[-1].score
        success[name] = score.goals[0].success / score.goals[0].examples
        assert score.accuracy > 0.92
    assert success["multi_krum"] > 0.9
    assert success["median"] > 0.15
    assert success["backdoor_indicator"] < 0.1


def test_a_regression_is_refused_before_anything_is_planted():
    """Of one output every input is of class 0, so that everybody would be flagged."""
    rule, own = BackdoorIndicator(num_indicators=10), OwnExamples(OWN.x, torch.rand(6, 1))
    with pytest.raises(
        ValueError, match=r"one class each.* got labels torch.float32 \[1\] and outputs \[2\]"
    ):
        rule.prepare(torch.zeros(8), rule.init(), known(examples=own))
