"""Oracles: norms summed in float64, which ``test_updates.py`` holds to NumPy's."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gauntlet.core.norms import PIECE, fast_row_norms
from gauntlet.core.updates import row_norms


def normal(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).standard_normal(shape, dtype=np.float32))


def worst(rows: Tensor) -> float:
    """Return the largest relative error."""
    return float((fast_row_norms(rows) / row_norms(rows) - 1).abs().max())


@pytest.mark.parametrize("width", [PIECE, PIECE + 1, 40 * PIECE - 1, 100_000])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e15])
def test_norms_of_rows_of_any_length_are_good_to_one_part_in_a_million(width: int, scale: float) -> None:
    """Also where a few coordinates are much longer than all others."""
    rows = normal(4, width) * torch.exp2(12 * normal(4, width)[:, :1] - 2) * scale
    rows[2:] *= normal(2, width).mul(3).exp()
    assert worst(rows) < 1e-6


def test_rounding_that_always_goes_one_way_stays_below_one_part_in_a_million() -> None:
    """Rows of signs: every square is the same, and so may be what each addition loses."""
    sizes = torch.exp2(torch.linspace(0, 2, 500))[:, None]
    assert 1e-8 < worst(sizes * normal(500, 4 * PIECE).sign()) < 5e-7


@pytest.mark.parametrize(
    "value", [0.0, 1e-30, 1e-42, 2.0**-60, 1e19, 1e30, 3.4e38, math.inf, -math.inf, math.nan]
)
def test_rows_beyond_the_range_of_float32s_squares_have_the_bits_of_the_sum_in_float64(value: float) -> None:
    """More of them than are measured at once, whole or in one coordinate, between others that stay."""
    rows = normal(30, 3 * PIECE + 5)
    honest = fast_row_norms(rows)
    rows[::3] = value
    if not 0 <= value < 1:
        rows[1, 700] = rows[4, -1] = rows[7, 0] = value
    found, exact = fast_row_norms(rows), row_norms(rows)
    changed = torch.arange(30) % 3 == 0
    assert torch.equal(found[changed].nan_to_num(-1.0), exact[changed].nan_to_num(-1.0))
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    others = ~changed & (torch.isin(torch.arange(30), torch.tensor([1, 4, 7]), invert=True))
    assert torch.equal(found[others], honest[others])


def test_rows_shorter_than_a_piece_and_rows_of_float64_are_summed_in_float64() -> None:
    short, long = normal(5, PIECE - 1), normal(5, 4 * PIECE).double()
    assert torch.equal(fast_row_norms(short), row_norms(short))
    assert torch.equal(fast_row_norms(long), row_norms(long))
    assert not torch.equal(fast_row_norms(long.float()), row_norms(long.float()))


def test_a_norm_has_the_same_bits_alone_in_a_cohort_and_for_any_number_of_threads() -> None:
    """Rows of an odd length begin anywhere in memory."""
    rows = normal(70, 20_003)
    one = fast_row_norms(rows)
    apart = [fast_row_norms(part) for size in (1, 3) for part in rows.split(size)]
    assert torch.equal(torch.cat(apart), one.repeat(2))
    assert torch.equal(fast_row_norms(rows.flip(0)).flip(0), one)
    assert all(torch.equal(found, one) for found in for_threads(rows))


def test_one_long_row_has_the_same_bits_for_any_number_of_threads() -> None:
    one, *others = for_threads(normal(1, 3_000_001))
    assert all(torch.equal(found, one) for found in others)


def for_threads(rows: Tensor) -> list[Tensor]:
    """Return the norms as one, two and five threads find them."""
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(fast_row_norms(rows))
    finally:
        torch.set_num_threads(before)
    return found


def test_columns_of_a_wider_matrix_have_the_norms_of_their_copy_and_stay_as_they_are() -> None:
    wide = normal(6, 5 * PIECE)
    part, copy = wide[:, 3 : 3 + 2 * PIECE], wide.clone()
    assert torch.equal(fast_row_norms(part), fast_row_norms(part.contiguous()))
    assert torch.equal(wide, copy)


def test_an_empty_cohort_has_no_norms() -> None:
    assert fast_row_norms(torch.zeros(0, 3)).shape == (0,)
    assert fast_row_norms(torch.zeros(0, 3 * PIECE)).shape == (0,)
    assert fast_row_norms(torch.zeros(2, 0)).tolist() == [0.0, 0.0]
