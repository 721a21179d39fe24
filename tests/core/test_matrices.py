"""Large matrices: their memory is used again, and never while somebody holds a part of it."""

import torch

from gauntlet.core import matrices
from gauntlet.core.matrices import LARGEST_KEPT, large, scaled

ROWS, COLUMNS = 8, LARGEST_KEPT // 4 // 8 + 1000  # a little more than what the C library keeps


def test_what_nobody_holds_is_used_again():
    first = large(ROWS, COLUMNS)
    place = first.data_ptr()
    del first
    again = large(ROWS, COLUMNS - 500)  # a smaller cohort's

    assert again.data_ptr() == place
    assert again.shape == (ROWS, COLUMNS - 500)
    assert again.is_contiguous()


def test_what_somebody_holds_is_not():
    """A row, a view of numpy's, a slice that is made from one: each keeps all of it."""
    for part in (lambda m: m[3], lambda m: m.numpy()[2:4], lambda m: torch.from_numpy(m.numpy()[5])[:10]):
        matrix = large(ROWS, COLUMNS).fill_(7.0)
        held = part(matrix)
        del matrix
        others = [large(ROWS, COLUMNS).fill_(1.0) for _ in range(3)]
        assert bool((torch.as_tensor(held) == 7.0).all())
        del others


def test_far_too_large_memory_is_not_taken():
    whole = large(ROWS, 3 * COLUMNS)
    place = whole.data_ptr()
    del whole
    assert large(ROWS, COLUMNS).data_ptr() != place


def test_scaled_rows_are_products_in_their_own_type():
    vectors = torch.tensor([[1.0, -3.0], [2.0, 0.5], [0.0, 7.0]])
    for dtype in (torch.float32, torch.float64):
        rows = vectors.to(dtype)
        found = scaled(rows, torch.tensor([1.0, 1 / 3, 0.0], dtype=torch.float64))
        assert found.dtype == dtype
        assert torch.equal(found, rows * torch.tensor([[1.0], [1 / 3], [0.0]], dtype=dtype))
        assert torch.equal(rows, vectors.to(dtype))


def test_nothing_is_written_where_every_factor_is_1():
    vectors = torch.randn(3, 5)
    assert scaled(vectors, torch.ones(3, dtype=torch.float64)) is vectors


def test_a_large_product_takes_the_memory_of_the_one_before(monkeypatch):
    monkeypatch.setattr(matrices, "_free", [])
    vectors, half = torch.ones(ROWS, COLUMNS), torch.full((ROWS,), 0.5)
    first = scaled(vectors, half)
    place = first.data_ptr()
    assert bool((first == 0.5).all())
    del first
    assert [memory.ctypes.data for memory in matrices._free] == [place]
    assert scaled(vectors, half).data_ptr() == place
