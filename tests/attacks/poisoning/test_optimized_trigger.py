"""Oracles: the closed form on a linear model, and the fixed trigger at the same budget in whole runs."""

import pytest
import torch

from gauntlet.attacks.poisoning.optimized_trigger import OptimizedTrigger
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.errors import PluginError
from gauntlet.core.seeds import generator
from gauntlet.server.simulation import prepare
from gauntlet.server.spec import PluginSpec, RoleSpec, RunSpec


def linear(weight):
    return lambda x: x.flatten(1) @ weight


def test_of_two_classes_on_a_linear_model_the_pattern_is_the_difference_of_their_weights():
    """Closed form: the loss falls steepest along w_target - w_other everywhere, and the norm is the budget.

    A small budget, so that next to no pixel of the noise leaves [0, 1].
    """
    weight = torch.from_numpy(generator(0, "weight").standard_normal((30, 2))).float()
    pattern = OptimizedTrigger(target=1, budget=0.01).pattern(torch.Size((1, 5, 6)), linear(weight))
    expected = weight[:, 1] - weight[:, 0]
    assert float(pattern.norm()) == pytest.approx(0.01, rel=1e-5)
    assert float(torch.cosine_similarity(pattern.flatten(), expected, dim=0)) > 0.999


def test_triggered_images_stay_images_and_are_moved_by_at_most_the_budget():
    weight = torch.from_numpy(generator(1, "weight").standard_normal((36, 10))).float()
    x, y = torch.rand(20, 1, 6, 6), torch.arange(20) % 10
    goal = OptimizedTrigger(target=3, budget=0.7).goal(x, y, linear(weight))
    assert len(goal.x) == 18  # those of the target are left out
    assert bool(((goal.x >= 0) & (goal.x <= 1)).all())
    assert float((goal.x - x[y != 3]).flatten(1).norm(dim=1).max()) <= 0.7 + 1e-5


def test_a_model_without_a_slope_gives_no_pattern_and_one_that_diverged_leaves_images_as_they_are():
    for slope in (0.0, float("nan")):
        model = linear(torch.full((9, 4), slope))
        assert not bool(OptimizedTrigger().pattern(torch.Size((1, 3, 3)), model).any())


def test_rows_of_features_are_refused_and_so_is_a_class_that_is_none():
    with pytest.raises(ValueError, match=r"needs images \[n, channels, H, W\], got inputs \[12\]"):
        OptimizedTrigger().goal(torch.rand(3, 12), torch.arange(3), linear(torch.zeros(12, 5)))
    with pytest.raises(ValueError, match="target must be below the model's 5 classes, got 7"):
        OptimizedTrigger(target=7).pattern(torch.Size((1, 3, 4)), linear(torch.zeros(12, 5)))


@pytest.mark.parametrize("options", [{"budget": 0.0}, {"steps": 0}, {"references": 0}, {"fraction": 0.0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        OptimizedTrigger(**options)


def success(attack, options, start_round=0, **changes):
    """Return the success of two of twenty clients after four rounds, and the accuracy."""
    spec = RunSpec(
        seed=3,
        rounds=4,
        num_clients=20,
        data=PluginSpec("digits"),
        partition=PluginSpec("iid"),
        model=PluginSpec("mlp", {"hidden": [32]}),
        training=LocalTraining(local_epochs=2, batch_size=16, lr=0.2),
        evaluate_every=4,
    )
    plugin = PluginSpec(attack, {"target": 2, "fraction": 0.3, **options})
    simulation = prepare(
        RunSpec(**{**vars(spec), "roles": (RoleSpec(plugin, (0, 1), start_round=start_round),), **changes})
    )
    score = list(simulation.steps(simulation.serial_pool()))[-1].score
    return score.goals[0].success / score.goals[0].examples, score.accuracy


def test_it_beats_the_fixed_trigger_at_the_same_budget_and_fails_with_a_small_one():
    """Three corner pixels from 0 to 1 move an image by sqrt(3). Nobody notices: the accuracy is the same."""
    fixed, accuracy = success("pixel_backdoor", {"pixels": [[0, 0], [0, 7], [7, 7]]})
    mine, same = success("optimized_trigger", {"budget": 3**0.5})
    weak, _ = success("optimized_trigger", {"budget": 0.25})
    assert mine > fixed + 0.4
    assert abs(same - accuracy) < 0.05
    assert weak < 0.15


def test_much_of_it_is_no_backdoor_but_the_models_own_weakness():
    """Where nobody ever attacks, the pattern fools the model all the same, if less often."""
    taught, _ = success("optimized_trigger", {"budget": 3**0.5})
    found, _ = success("optimized_trigger", {"budget": 3**0.5}, start_round=99)
    assert 0.4 < found < taught


def test_features_are_refused_before_anybody_trains():
    data = {"data": PluginSpec("synthetic"), "model": PluginSpec("logistic_regression")}
    with pytest.raises(PluginError, match="needs images"):
        success("optimized_trigger", {}, **data)
