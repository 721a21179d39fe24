"""Oracle: b_c = mean p_c - n_c / B (leakage specification, section 3), and the true labels."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from gauntlet.attacks.leakage.parts.labels import (
    last_layer,
    only_label,
    refuse_untold_labels,
    round_counts,
)
from gauntlet.core.errors import PluginError


@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.ReLU, nn.Tanh])
def test_the_only_label_is_read_every_time(digits, mlp, observe, activation):
    """Leakage specification, section 12: iDLG's label is right in 100 % of 50 draws."""
    x, y = digits
    for i in range(50):
        observation = observe(mlp(activation, seed=i), x[7 * i : 7 * i + 1], y[7 * i : 7 * i + 1])

        assert only_label(observation, observation.gradient()).item() == int(y[7 * i])


@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.ReLU])
def test_the_only_label_is_read_from_the_weights_where_there_is_no_bias(digits, observe, activation):
    """iDLG, Section 3: with features that are not negative, the label's row is the only negative one."""
    x, y = digits
    for i in range(20):
        torch_model = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 32), activation(), nn.Linear(32, 10, bias=False)
        )
        observation = observe(torch_model, x[i : i + 1], y[i : i + 1])

        assert last_layer(observation, observation.update).bias is None
        assert only_label(observation, observation.gradient()).item() == int(y[i])


def test_a_model_that_does_not_end_with_a_linear_layer_is_refused(digits, observe):
    x, y = digits
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.LayerNorm(10))

    observation = observe(model, x[:1], y[:1])

    with pytest.raises(PluginError, match=r"10 rows; the model ends with 2.weight \(10,\), 2.bias \(10,\)"):
        last_layer(observation, observation.update)


@pytest.mark.parametrize(
    ("scores", "total", "expected"),
    [
        ([1.6, 0.9, 0.5], 3, [2, 1, 0]),  # floors 1, 0, 0; the remainders .9 and .6 get the two left
        ([2.4, -0.3, 0.6], 3, [2, 0, 1]),  # the negative one is 0
        ([-1.0, -2.0, 0.0], 4, [2, 1, 1]),  # nothing above 0: evenly, the first ones first
        ([5.0, 0.0], 2, [2, 0]),
    ],
)
def test_counts_are_rounded_by_largest_remainder(scores, total, expected):
    assert round_counts(torch.tensor(scores), total).tolist() == expected


@pytest.mark.parametrize(("size", "examples"), [(3, "3 examples"), (None, "several examples")])
def test_labels_of_several_examples_are_asked_for(digits, mlp, observe, size, examples):
    x, y = digits
    seen = observe(mlp(), x[:3], y[:3])
    seen = replace(seen, knowledge=replace(seen.knowledge, batch_size=size))

    with pytest.raises(
        PluginError, match=f"^X needs to know the labels of {examples} .*tells them, or else$"
    ):
        refuse_untold_labels(seen, "X", ", or else")
    refuse_untold_labels(replace(seen, knowledge=replace(seen.knowledge, labels=(0, 1, 2))), "X")
    refuse_untold_labels(replace(seen, knowledge=replace(seen.knowledge, batch_size=1)), "X")
