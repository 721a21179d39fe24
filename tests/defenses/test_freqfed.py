"""Oracles: scipy's transform; groups by hand."""

import numpy as np
import pytest
import torch
from scipy.fft import dct, idct

from gauntlet.defenses import freqfed
from gauntlet.defenses.freqfed import FreqFed, low_frequencies


@pytest.mark.parametrize("size", [1, 2, 3, 8, 31, 64])
def test_the_transform_is_scipys(size):
    rng = np.random.default_rng(size)
    rows, shift = rng.normal(size=(5, size)), rng.normal(size=size)
    for count in {1, (size + 1) // 2, size}:
        expected = dct(rows, norm="ortho", axis=1)[:, :count]
        np.testing.assert_allclose(low_frequencies(torch.from_numpy(rows), count), expected, atol=1e-12)
    moved = low_frequencies(torch.from_numpy(rows), size, torch.from_numpy(shift))
    np.testing.assert_allclose(moved, dct(rows + shift, norm="ortho", axis=1), atol=1e-12)


def test_some_rows_at_a_time_give_the_same(monkeypatch):
    rows = torch.randn(7, 40)
    whole = low_frequencies(rows, 20)
    monkeypatch.setattr(freqfed, "_NUMBERS", 80)
    assert torch.equal(low_frequencies(rows, 20), whole)
    assert whole.dtype == torch.float32


def test_the_largest_cluster_is_averaged(cohort):
    """By hand: eight slow waves of one phase, four of another, and one that is alone."""
    grid = (np.arange(64) + 0.5) / 64
    rng = np.random.default_rng(0)
    slow, other = np.cos(np.pi * 2 * grid), np.cos(np.pi * 5 * grid)
    rows = np.array([slow] * 8 + [other] * 4 + [slow + 3 * other]) + 0.01 * rng.normal(size=(13, 64))
    verdict, _ = FreqFed(min_cluster_size=3).aggregate(cohort(rows), None)
    assert set(verdict.flags) == {85, 95, 105, 115, 125}
    np.testing.assert_allclose(verdict.aggregate, rows[:8].mean(axis=0), atol=1e-12)


def test_what_only_high_frequencies_tell_apart_is_not_seen(cohort):
    """The same two groups, in the upper half of the frequencies: with all of them they are two again."""
    grid = (np.arange(64) + 0.5) / 64
    rng = np.random.default_rng(0)
    common, high = np.cos(np.pi * 2 * grid), np.cos(np.pi * 50 * grid)
    rows = np.array([common] * 8 + [common + high] * 4) + 0.01 * rng.normal(size=(12, 64))
    liars = {85, 95, 105, 115}
    assert liars <= set(FreqFed(low_share=1.0).aggregate(cohort(rows), None)[0].flags)
    assert not liars <= set(FreqFed().aggregate(cohort(rows), None)[0].flags)


@pytest.mark.parametrize("size", [6, 7])
def test_of_an_odd_number_the_lower_half_is_rounded_down(cohort, size):
    """Of six and of seven frequencies three are looked at, and the fourth alone tells the groups apart."""
    waves = np.zeros((12, size))
    waves[:, 0], waves[:8, 3], waves[8:, 3] = 1.0, 5.0, -5.0
    rows = idct(waves, norm="ortho", axis=1)
    assert not FreqFed().aggregate(cohort(rows), None)[0].flags
    more = FreqFed(low_share=4.5 / size).aggregate(cohort(rows), None)[0]
    assert set(more.flags) == {85, 95, 105, 115}


def test_one_half_is_no_cluster_of_more_than_half(cohort):
    """By hand: of twelve a cluster has at least seven; with six, one of the halves would go."""
    rng = np.random.default_rng(0)
    rows = np.repeat([[1.0, 0, 0, 0], [0, 0, 0, 1.0]], 6, axis=0) + 0.01 * rng.normal(size=(12, 4))
    assert not FreqFed(low_share=1.0).aggregate(cohort(rows), None)[0].flags
    assert len(FreqFed(low_share=1.0, min_cluster_size=6).aggregate(cohort(rows), None)[0].flags) == 6


def test_models_are_compared_instead_of_updates(cohort, at):
    """By hand: updates of 1e-4 along different axes are far apart by angle, the models around w are not."""
    rows = 1e-4 * np.eye(8)
    rows[7] = [0, 0, 0, 0, 0, 0, 0, 3.0]
    updates = at(cohort(rows), params=torch.ones(8, dtype=torch.float64))
    assert set(FreqFed(low_share=1.0, input="models").aggregate(updates, None)[0].flags) == {75}
    assert set(FreqFed(low_share=1.0).aggregate(updates, None)[0].flags) != {75}
    with pytest.raises(ValueError, match="freqfed needs the global parameters"):
        FreqFed(input="models").aggregate(cohort(rows), None)


def test_without_a_dense_cluster_everybody_is_accepted(cohort):
    verdict, _ = FreqFed(min_cluster_size=7).aggregate(cohort(np.eye(6)), None)
    assert not verdict.flags
    np.testing.assert_allclose(verdict.aggregate, np.full(6, 1 / 6))


def test_the_four_liars_are_left_out(four_liars):
    assert {16, 17, 18, 19} <= set(FreqFed().aggregate(four_liars, None)[0].flags)


@pytest.mark.parametrize(
    "options",
    [{"low_share": 0.0}, {"low_share": 1.1}, {"min_cluster_size": 1}, {"min_samples": 0}, {"input": "rows"}],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        FreqFed(**options)


def test_the_longest_numbers_stay_numbers(cohort):
    """The lowest frequency of P equal values v is v sqrt(P): beyond float32 for its largest ones."""
    rows = torch.full((4, 9), 3.4e38)
    rows[3] *= -1
    verdict, _ = FreqFed().aggregate(cohort(rows), None)
    assert set(verdict.flags) == {35}
    assert verdict.aggregate.tolist() == rows[0].tolist()
