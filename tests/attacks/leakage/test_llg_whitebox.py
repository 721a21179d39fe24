"""Oracles: leakage specification 3 (untrained nets: .89 to 1.00; trained ones: .33 to .57), 50 trials."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from gauntlet.attacks.leakage.dimitrov_counts import DimitrovCounts
from gauntlet.attacks.leakage.llg import LLG
from gauntlet.attacks.leakage.llg_whitebox import LLGWhitebox


@pytest.fixture(scope="module")
def trained(digits, mlp):
    """MLP 64-64-10 ReLU after 150 steps of Adam on all digits, as the specification's trained row."""
    x, y = digits
    model = mlp(nn.ReLU)
    adam = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(150):
        adam.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        adam.step()
    return model


@pytest.mark.parametrize("size", [8, 32])
def test_untrained_models_tell_the_labels_better_than_to_the_black_box(mlp, labels_found, size):
    attack = LLGWhitebox(num_dummies=500)

    def make(t):
        return mlp(nn.ReLU, seed=t)

    found = labels_found(attack, make, size)
    assert 0.84 <= found <= 1.0
    assert found > labels_found(LLG(), make, size)


@pytest.mark.parametrize(
    "attack", [LLGWhitebox(num_dummies=500), DimitrovCounts(init="uniform", num_dummies=500)]
)
def test_random_inputs_say_little_of_a_trained_model(trained, labels_found, attack):
    assert labels_found(attack, lambda _: trained, 32, trials=20) < 0.65
