"""Oracle: the same numbers with numpy on the whole matrix at once."""

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.parts.geometry import along, combination, squared_distances


@pytest.mark.parametrize("width", [2**20, 21])
def test_blocks_give_what_numpy_gives(width, monkeypatch):
    monkeypatch.setattr("gauntlet.attacks.poisoning.parts.geometry.BLOCK_ELEMENTS", width)
    rows, centre, way, c = (np.random.default_rng(0).normal(size=s) for s in ((7, 40), 40, 40, 7))
    x = torch.from_numpy(rows)
    square, inner = along(x, torch.from_numpy(centre), torch.from_numpy(way))
    np.testing.assert_allclose(
        squared_distances(x), np.square(rows[:, None] - rows[None]).sum(axis=2), atol=1e-12
    )
    np.testing.assert_allclose(square, np.square(rows - centre).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(inner, (rows - centre) @ way, atol=1e-12)
    total = combination(x, torch.from_numpy(centre), torch.from_numpy(c))
    np.testing.assert_allclose(total, c @ (rows - centre), atol=1e-12)


def test_long_float32_updates_that_differ_a_little_keep_their_distances():
    """Length 1400 and true distances of 0.04: the Gram trick in float32 gives negative ones."""
    stream = np.random.default_rng(0)
    rows = (stream.normal(size=20_000) * 10 + 0.001 * stream.normal(size=(8, 20_000))).astype(np.float32)
    exact = np.square(rows[:, None].astype(float) - rows[None]).sum(axis=2)
    np.testing.assert_allclose(squared_distances(torch.from_numpy(rows)), exact, rtol=1e-9)


def test_one_row_has_no_distances():
    assert squared_distances(torch.ones(1, 3)).tolist() == [[0.0]]
