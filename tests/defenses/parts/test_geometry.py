"""Oracle: numpy on the whole matrix in float64."""

import numpy as np
import pytest
import torch

from gauntlet.defenses.parts import columns
from gauntlet.defenses.parts.geometry import cosines, cosines_to, products

ROWS = np.random.default_rng(0).normal(size=(6, 50)).astype(np.float32)


@pytest.fixture(autouse=True, params=[7, 2**20])
def blocks(request, monkeypatch):
    """Once in blocks of one column, once in one block."""
    monkeypatch.setattr(columns, "BLOCK_ELEMENTS", request.param)


def test_products_are_those_of_float64():
    exact = ROWS.astype(float)
    found = products(torch.from_numpy(ROWS), torch.from_numpy(ROWS[:2]))
    np.testing.assert_allclose(found, exact @ exact[:2].T, atol=1e-12)


def test_cosines_are_those_of_moved_rows():
    shift = np.arange(50, dtype=np.float32)
    moved = ROWS.astype(float) + shift
    lengths = np.linalg.norm(moved, axis=1)
    found = cosines(torch.from_numpy(ROWS), torch.from_numpy(shift))
    np.testing.assert_allclose(found, moved @ moved.T / np.outer(lengths, lengths), atol=1e-14)
    assert found.diagonal().tolist() == [1.0] * 6


def test_what_has_no_length_has_no_direction():
    """Robustness spec 1.1: the cosine is 0 when either norm is below 1e-12."""
    rows = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1e-13, 0.0]], dtype=torch.float64)
    assert cosines(rows).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    assert cosines_to(rows, rows[0]).tolist() == [1.0, 0.0, 0.0]
    assert cosines_to(rows, rows[1]).tolist() == [0.0, 0.0, 0.0]
