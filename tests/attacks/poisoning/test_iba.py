"""Oracles: the budget by definition, and the network's formula written out."""

import pytest
import torch

from gauntlet.attacks.poisoning.iba import IBA
from gauntlet.attacks.poisoning.parts.dense_model import DenseModel
from gauntlet.core.seeds import generator


def images(count=30):
    return torch.from_numpy(generator(0, "images").random((count, 1, 5, 5))).float()


def test_no_pixel_changes_by_more_than_the_budget_and_each_image_has_its_own_trigger():
    x, y, model = images(), torch.arange(30) % 10, DenseModel.drawn(25, 10)
    goal = IBA(budget=0.1).goal(x, y, model)
    moved = goal.x - x[y != 2]
    assert float(moved.abs().max()) <= 0.1 + 1e-6
    assert len(goal.x) == 27
    assert float((moved[0] - moved[1]).abs().max()) > 0.01


def test_a_trigger_is_the_networks_output():
    """By hand, from the weights: budget tanh(relu((x - 0.5) A) B)."""
    x, attack = images(2), IBA(budget=0.3)
    first, second = torch.full((25, 3), 0.1), torch.linspace(-1, 1, 75).reshape(3, 25)
    hidden = torch.relu((x.flatten(1) - 0.5).sum(dim=1, keepdim=True) * 0.1).expand(2, 3)
    expected = (x + 0.3 * torch.tanh(hidden @ second).reshape(x.shape)).clamp(0, 1)
    torch.testing.assert_close(attack.drawn(x, (first, second)), expected)


def test_training_lowers_the_loss_towards_the_target_and_the_models_weights_stay():
    x, model = images(), DenseModel.drawn(25, 10)
    before, wanted = model.params.clone(), torch.full((30,), 2)
    losses = []
    for steps in (1, 10, 60):
        attack = IBA(steps=steps, budget=0.5)
        shown = attack.drawn(x, attack.network(x, model))
        losses.append(float(torch.nn.functional.cross_entropy(model(shown), wanted)))
    assert losses[0] > losses[1] > losses[2]
    assert torch.equal(model.params, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0.0}, "budget must be above 0 and at most 1, got 0.0"),
        ({"hidden": 0}, "hidden must be at least 1, got 0"),
        ({"lr": float("nan")}, "lr must be finite and above 0, got nan"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        IBA(**options)


def test_rows_are_refused():
    with pytest.raises(ValueError, match=r"iba needs images \[n, channels, H, W\], got inputs \[12\]"):
        IBA().goal(torch.rand(3, 12), torch.arange(3), DenseModel.drawn(12, 10))
