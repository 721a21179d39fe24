"""Large matrices: their memory is used again, and never while somebody holds a part of it."""

import torch

from gauntlet.clients.placement.memory import LARGEST_KEPT
from gauntlet.clients.pools.matrices import large

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
