"""Inputs of which a message says nothing: counted by hand, and no search that fits it claims to have them."""

import pytest
import torch
from torch import nn

from gauntlet.attacks.leakage.dlg import DLG
from gauntlet.attacks.leakage.search.hidden import hidden_values
from gauntlet.core.seeds import generator, seeded_torch


def test_values_that_move_no_residual_are_counted():
    """By hand: of four, the second is read by none, and the last two by all."""

    def residuals(variables):
        (x,) = variables
        return torch.stack([x[0] + x[2], x[2] * x[3], x[3] - x[0]])

    assert hidden_values(residuals, (torch.tensor([1.0, 2.0, 3.0, 4.0]),)) == 1


@pytest.mark.parametrize(("stride", "hidden", "stopped"), [(1, 0, "converged"), (2, 48, "not_certified")])
def test_pixels_that_no_layer_reads_are_not_claimed(digits, observe, stride, hidden, stopped):
    """A kernel of one pixel and stride 2 reads 16 of 64 pixels; either way the search fits the message."""
    with seeded_torch(generator(0, "weights")):
        head = nn.Linear(4 * (8 // stride) ** 2, 10)
        model = nn.Sequential(nn.Conv2d(1, 4, 1, stride=stride), nn.Sigmoid(), nn.Flatten(), head)
    x, y = digits[0][:1], digits[1][:1]
    attack = DLG(
        optimizer="levenberg_marquardt", init="uniform", max_iterations=60, tolerance=1e-9, restarts=3
    )
    found = attack.reconstruct([observe(model, x, y)], generator(0, "attack"))

    assert found.cost <= 1e-9
    assert found.stopped == stopped
    assert found.details.get("hidden_values", 0) == hidden
