"""Oracles: ``weighted_sum`` and what is stored of it, to the bit; NumPy in float64."""

import math

import numpy as np
import pytest
import torch

from gauntlet.core.updates import weighted_sum
from gauntlet.defenses.parts.means import group_means, weighted_mean
from gauntlet.defenses.parts.memory import stored


def drawn(rows, columns, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, columns), np.float32))


@pytest.mark.parametrize(
    "counts", [[1.0] * 5, [3.0] * 5, [1.0, 20.0, 7.0, 3.0, 2.0], [1.0, 0.0, 2.0, 5.0, 0.0]]
)
@pytest.mark.parametrize("block", [2**20, 7 * 5])
def test_a_mean_has_the_bits_of_the_sum_that_is_divided_and_stored(monkeypatch, counts, block):
    monkeypatch.setattr("gauntlet.defenses.parts.means.MEAN_ELEMENTS", block)
    rows, counts = drawn(5, 1000) * 10.0 ** torch.arange(-2, 3)[:, None], torch.tensor(counts).double()
    expected = stored(weighted_sum(rows, counts) / 3.7, torch.float32)
    assert torch.equal(weighted_mean(rows, counts, 3.7), expected)
    np.testing.assert_allclose(expected, counts.numpy() @ rows.double().numpy() / 3.7, rtol=1e-6, atol=1e-6)


def test_what_is_beyond_the_range_becomes_the_largest_number_and_who_counts_nothing_adds_nothing():
    rows = torch.tensor([[3e38, 1.0], [3e38, 2.0], [math.inf, math.nan]])
    most = torch.finfo(torch.float32).max
    assert weighted_mean(rows[:2], torch.ones(2).double(), 0.5).tolist() == [most, 6.0]
    assert weighted_mean(rows, torch.tensor([1.0, 1.0, 0.0]).double(), 2.0).tolist() == [rows[0, 0], 1.5]
    assert weighted_mean(rows[:0], torch.ones(0).double(), 1.0).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("block", [2**20, 7 * 9])
def test_each_group_has_the_mean_of_its_own_rows(monkeypatch, dtype, block):
    """Groups of one, two and three rows, in any order; a row of no number spoils its own group alone."""
    monkeypatch.setattr("gauntlet.defenses.parts.means.MEAN_ELEMENTS", block)
    rows = drawn(7, 100).to(dtype)
    rows[5] = math.inf
    groups = [[6], [3, 0, 1], [5, 4], [2, 6, 3]]
    members = torch.tensor([[6, 0, 0], [3, 0, 1], [5, 4, 0], [2, 6, 3]])
    found = group_means(rows, members, torch.tensor([1, 3, 2, 3]))
    assert found.dtype == dtype
    for mean, group in zip(found, groups, strict=True):
        np.testing.assert_allclose(mean, rows.double().numpy()[group].mean(axis=0), rtol=1e-6, atol=1e-7)
