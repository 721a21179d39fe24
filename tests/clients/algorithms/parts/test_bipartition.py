"""Oracle: all bipartitions, tried one by one."""

from itertools import product

import pytest
import torch

from gauntlet.clients.algorithms.parts.bipartition import apart, cosines_of, within


def tried(cosines):
    """Return the smallest largest cosine across of all bipartitions."""
    size, found = len(cosines), []
    for sides in product([False, True], repeat=size - 1):
        other = torch.tensor([False, *sides])
        if other.any():
            found.append(float(cosines[~other][:, other].max()))
    return min(found)


@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_no_bipartition_has_a_smaller_largest_cosine_across(size):
    for seed in range(8):
        rows = torch.randn(size, 3, generator=torch.Generator().manual_seed(seed))
        cosines = cosines_of(rows)
        other, across = apart(cosines)
        assert not other[0]
        assert other.any()
        assert across == tried(cosines)
        assert float(cosines[~other][:, other].max()) == across


def test_blocks_come_apart_whatever_their_order():
    groups = torch.tensor([0, 1, 1, 0, 1, 0, 0])
    cosines = torch.where(groups[:, None] == groups, 0.75, -0.5).double()
    other, across = apart(cosines)
    assert other.long().tolist() == groups.tolist()
    assert across == -0.5
    assert within(cosines, other) == 0.75


def test_a_vector_of_length_0_points_nowhere():
    assert cosines_of(torch.tensor([[0.0, 0.0], [1e-30, 0.0]])).tolist() == [[0.0, 0.0], [0.0, 1.0]]
