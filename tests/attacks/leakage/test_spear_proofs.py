"""What ``spear`` certifies where the messages leave something open. Oracle: the true batch itself."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from gauntlet.attacks.leakage.parts.metrics import mse
from gauntlet.attacks.leakage.parts.sparse_columns import find_columns
from gauntlet.attacks.leakage.spear import Spear
from gauntlet.core.seeds import generator, seeded_torch


def rebuild(observation):
    return Spear().reconstruct([observation], generator(0, "attack"))


def net(units, seed=0):
    with seeded_torch(generator(seed, "weights")):
        hidden = nn.Linear(64, units), nn.ReLU(), nn.Linear(units, 30), nn.ReLU()
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(30, 10))


def test_where_one_column_is_missing_no_example_is_certified(digits, observe, monkeypatch):
    """Time ends before the last of six: any of the others may hold a share of the one that is missing."""
    x, y = (part[:6] for part in digits)
    seen = observe(net(200), x, y)
    assert rebuild(seen).details["certified"] == 6

    def cut_short(*arguments):
        known, rounds = find_columns(*arguments)
        return known[:-1], rounds

    monkeypatch.setattr("gauntlet.attacks.leakage.spear.find_columns", cut_short)
    found = rebuild(seen)

    assert (found.stopped, found.details["found"], found.details["certified"]) == ("not_certified", 5, 0)
    assert "predicted_mse" not in found.details


@pytest.mark.parametrize("seed", [0, 4])
def test_units_that_are_all_on_certify_no_example_of_a_noisy_message(digits, observe, seed):
    """No zero of E is there to agree with: of one example every unit fits, whatever the noise made of it."""
    model = net(60, seed)
    with torch.no_grad():
        model[1].bias.fill_(30.0)
    seen = observe(model, digits[0][seed : seed + 1], digits[1][seed : seed + 1])
    noise = torch.randn(seen.update.shape, generator=torch.Generator().manual_seed(seed)) * 1e-3

    found = rebuild(replace(seen, update=seen.update + noise))

    assert mse(found.x, digits[0][seed : seed + 1]).item() > 1e-4
    assert (found.stopped, found.details["certified"]) == ("not_certified", 0)
