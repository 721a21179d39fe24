"""Oracles: scipy's pairwise distances; a case with a known answer where the Gram trick fails."""

import numpy as np
import torch

from gauntlet.defenses.distances import squared_distances


def test_scipy_finds_the_same_distances(monkeypatch):
    from scipy.spatial.distance import cdist

    rows = np.random.default_rng(0).normal(size=(6, 500))
    monkeypatch.setattr("gauntlet.defenses.columns.BLOCK_ELEMENTS", 6 * 64)
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
