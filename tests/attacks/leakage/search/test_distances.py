"""Oracles: calculations by hand."""

import math

import pytest
import torch

from gauntlet.attacks.leakage.search.distances import cosine, residual, squared

TARGET = torch.tensor([3.0, 0.0, 4.0])
SEEN = torch.tensor([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0], [0.0, 5.0, 0.0], [-3.0, 0.0, -4.0], [6.0, 0.0, 8.0]])


def test_the_squared_distance_is_over_the_squared_norm():
    """||G||^2 = 25: distances 0, 25, 50, 100 and 25."""
    torch.testing.assert_close(squared(TARGET)(SEEN), torch.tensor([0.0, 1.0, 2.0, 4.0, 1.0]))


def test_the_cosine_knows_directions_alone():
    found = cosine(TARGET)(SEEN)

    torch.testing.assert_close(found, torch.tensor([0.0, 1.0, 1.0, 2.0, 0.0]))
    torch.testing.assert_close(cosine(1e-25 * TARGET)(SEEN), found)


def test_the_cosine_of_45_degrees():
    assert float(cosine(torch.tensor([1.0, 0.0]))(torch.ones(1, 2))) == pytest.approx(1 - math.sqrt(0.5))


def test_entries_that_do_not_count_are_left_out():
    counts = torch.tensor([1.0, 0.0, 1.0])
    seen = torch.tensor([[3.0, 9.0, 4.0]])

    assert float(squared(TARGET, counts)(seen)) == 0
    assert float(cosine(TARGET, counts)(seen)) == pytest.approx(0, abs=1e-6)
    assert float(squared(TARGET)(seen)) == pytest.approx(81 / 25)


def test_a_message_of_zeros_is_explained_by_nothing():
    """||g - 0||^2 / ||0||^2 is no number; and nothing points along 0."""
    assert not squared(torch.zeros(3))(SEEN).isfinite().any()
    assert not residual(torch.zeros(3))(SEEN[0]).isfinite().all()
    assert cosine(torch.zeros(3))(SEEN).tolist() == [1.0] * 5


def test_what_may_be_clipped_is_compared_at_its_own_length():
    """Of gradients of any length only the direction counts: at 2 G 0, at the right angle |a - b|^2 = 2."""
    counts = torch.tensor([1.0, 0.0, 1.0])

    torch.testing.assert_close(squared(TARGET, resized=True)(SEEN), torch.tensor([0.0, 1.0, 2.0, 4.0, 0.0]))
    assert float(squared(TARGET, counts, resized=True)(torch.tensor([[6.0, 9.0, 8.0]]))) == pytest.approx(0)
    assert residual(TARGET, resized=True)(2 * TARGET).tolist() == pytest.approx([0, 0, 0])
