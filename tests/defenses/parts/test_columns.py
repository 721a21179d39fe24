"""Oracles: numpy on the whole matrix at once."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.parts.columns import mean_around_median, mix

ROWS = np.random.default_rng(0).normal(size=(23, 70_003))


@pytest.fixture
def rows():
    return torch.from_numpy(ROWS)


def test_mixtures_are_those_of_the_whole_matrix(rows):
    coefficients = np.random.default_rng(1).normal(size=(4, 23))
    coefficients[0, ::3] = 0
    np.testing.assert_allclose(mix(rows, torch.from_numpy(coefficients)), coefficients @ ROWS, atol=1e-12)


def test_some_rows_alone_are_averaged_around_their_median(rows):
    some = torch.tensor([1, 4, 5, 9, 20])
    expected = mean_around_median(rows[some], 3, "mean")
    assert torch.equal(mean_around_median(rows, 3, "mean", some), expected)


@pytest.mark.parametrize("cohort_size", [1, 2, 5, 23])
def test_the_number_of_threads_changes_no_bit(rows, cohort_size):
    before, found = torch.get_num_threads(), []
    rows = rows[:cohort_size].float()
    c = torch.linspace(0.1, 0.9, cohort_size, dtype=torch.float64)
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(mix(rows, torch.stack([c, 1 - c])))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
