"""Oracles: scipy's pairwise distances; cases with a known answer where the Gram trick fails."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.parts.distances import central_gram, gram_around, squared_distances


def test_scipy_finds_the_same_distances(monkeypatch):
    from scipy.spatial.distance import cdist

    rows = np.random.default_rng(0).normal(size=(6, 500))
    monkeypatch.setattr("gauntlet.defenses.parts.distances.PRODUCT_COLUMNS", 16)
    monkeypatch.setattr("gauntlet.defenses.parts.distances.PRODUCT_ELEMENTS", 6 * 64)
    found = squared_distances(torch.from_numpy(rows))
    np.testing.assert_allclose(found, cdist(rows, rows, "sqeuclidean"), rtol=1e-12, atol=0)


def test_long_similar_float32_updates_keep_their_small_distances():
    """Norm about 1400, true squared distances 0.04: in float32 the Gram trick finds negative ones."""
    stream = np.random.default_rng(0)
    base = 10 * stream.normal(size=20_000)
    rows = torch.from_numpy((base + 0.001 * stream.normal(size=(8, 20_000))).astype(np.float32))
    exact = ((rows.double()[:, None] - rows.double()[None]) ** 2).sum(dim=2)
    torch.testing.assert_close(squared_distances(rows), exact, rtol=1e-10, atol=0)
    gram = rows @ rows.T
    fooled = gram.diagonal()[:, None] + gram.diagonal()[None] - 2 * gram
    assert (fooled - exact).abs().max() > 1


def test_one_row_or_none_has_no_pairs():
    assert squared_distances(torch.ones(1, 3)).tolist() == [[0.0]]
    assert squared_distances(torch.ones(0, 3)).shape == (0, 0)


@pytest.mark.parametrize("far", [1e3, 1e8, 1e15, 1e30])
def test_whoever_is_far_away_costs_the_others_no_digits(far):
    """Two crowds of liars, the first client among them, against differences in float64."""
    rows = np.random.default_rng(0).normal(size=(9, 300))
    rows[[0, 3]] += far
    rows[5:7] -= np.sqrt(far)
    rows = torch.from_numpy(rows)
    exact = ((rows[:, None] - rows[None]) ** 2).sum(dim=2)
    found = squared_distances(rows)
    torch.testing.assert_close(found, exact, rtol=1e-11, atol=0)
    assert torch.equal(found, found.T)


def test_equal_updates_are_at_distance_zero_and_equally_far_from_everybody():
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 5000)))
    rows[[7, 20, 49]] = rows[2].clone()
    found = squared_distances(rows)
    assert found[2, [7, 20, 49]].tolist() == [0.0] * 3
    for copy in (7, 20, 49):
        assert torch.equal(found[copy], found[2])
    assert int((found == 0).sum()) == 50 + 12


@pytest.mark.parametrize("cohort_size", [1, 2, 7, 50])
def test_the_number_of_threads_changes_no_bit(cohort_size):
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(cohort_size, 30_001)).astype(np.float32))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(squared_distances(rows))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_inner_products_are_those_of_differences():
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 3000)))
    off = rows - rows[3]
    torch.testing.assert_close(gram_around(rows, 3), off @ off.T, rtol=1e-12, atol=1e-12)
    some = torch.tensor([0, 4])
    torch.testing.assert_close(gram_around(rows, 3, some), off[some] @ off[some].T, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("far", [1e8, 1e30])
def test_the_centre_is_amid_the_crowd_though_the_first_client_is_far_away(far):
    """By hand: three on a line at 0, 1 and 2, one far away: seen from the crowd, no entry is off."""
    gram = central_gram(torch.tensor([[far], [0.0], [1.0], [2.0]], dtype=torch.float64))
    centre = int((gram.diagonal() == 0).nonzero())
    off = torch.tensor([far, 0.0, 1.0, 2.0], dtype=torch.float64)
    off -= off[centre].clone()
    assert centre > 0
    torch.testing.assert_close(gram, off[:, None] * off[None], rtol=1e-14, atol=0)
