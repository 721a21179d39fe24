"""Oracles: calculations by hand, and finite ranges of values."""

import math
from dataclasses import replace

import pytest
import torch

from gauntlet.attacks.leakage.search.priors import annealed, clamp_to, total_variation
from gauntlet.attacks.leakage.search.starts import dummy_inputs
from gauntlet.core.errors import PluginError
from gauntlet.core.seeds import generator


def test_the_total_variation_is_the_mean_step_along_rows_and_columns():
    """Rows 0 1 / 0 3: steps along the rows 1 and 3 (mean 2), down the columns 0 and 2 (mean 1)."""
    image = torch.tensor([[0.0, 1.0], [0.0, 3.0]]).reshape(1, 1, 1, 2, 2)

    both = torch.cat([image, torch.zeros_like(image)])

    assert total_variation(both).tolist() == [3.0, 0.0]


def test_rows_of_values_have_no_total_variation():
    assert total_variation(torch.rand(2, 3, 7)).tolist() == [0.0, 0.0]


def test_a_weight_falls_geometrically():
    """Halfway between 0.1 and 0.001 it is 0.01."""
    assert [annealed(0.1, 0.001, share) for share in (0, 0.5, 1)] == pytest.approx([0.1, 0.01, 0.001])
    assert [annealed(0.2, 0.0, share) for share in (0, 0.5, 1)] == pytest.approx([0.2, 0.1, 0.0])


def test_values_are_moved_into_their_range_and_an_open_end_bounds_nothing():
    x = torch.tensor([-1.0, 0.5, 2.0])

    clamp_to(x, (0.0, math.inf))
    assert x.tolist() == [0.0, 0.5, 2.0]
    clamp_to(x, (0.0, 1.0))
    assert x.tolist() == [0.0, 0.5, 1.0]


def test_starts_are_drawn_as_asked(digits, mlp, observe):
    x, y = digits
    observation = observe(mlp(), x[:1], y[:1])

    normal = dummy_inputs(observation, 50, "normal", generator(0, "start"))
    uniform = dummy_inputs(replace(observation, value_range=(2.0, 4.0)), 50, "uniform", generator(0, "start"))

    assert normal.shape == uniform.shape == (50, 1, 8, 8)
    assert float(normal.mean()) == pytest.approx(0, abs=0.05)
    assert float(normal.std()) == pytest.approx(1, abs=0.05)
    assert float(uniform.mean()) == pytest.approx(3, abs=0.05)
    assert 2 <= float(uniform.min()) < float(uniform.max()) <= 4


def test_a_uniform_start_needs_a_range(digits, mlp, observe):
    x, y = digits
    observation = replace(observe(mlp(), x[:1], y[:1]), value_range=(-math.inf, math.inf))

    with pytest.raises(PluginError, match="finite value_range"):
        dummy_inputs(observation, 1, "uniform", generator(0, "start"))
