import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gauntlet.core.seeds import generator
from gauntlet.privacy.clippings.parts import clip_finite_rows, clip_rows, row_norms


def gaussian_rows(seed: int, clients: int, size: int, scale: float = 1.0) -> torch.Tensor:
    drawn = generator(seed, "rows").standard_normal((clients, size)) * scale
    return torch.from_numpy(drawn).float()


def test_a_row_above_the_bound_is_scaled_and_one_below_is_left_alone():
    """By hand: (3, 4) has norm 5, so the bound 1 gives (0.6, 0.8)."""
    clipped = clip_rows(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), 1.0)
    assert torch.allclose(clipped, torch.tensor([[0.6, 0.8], [0.3, 0.4]]), rtol=2e-6)
    assert torch.equal(clipped[1], torch.tensor([0.3, 0.4]))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    clients=st.integers(0, 5),
    size=st.sampled_from([1, 2, 7, 300, 9000]),
    scale=st.sampled_from([1e-30, 1e-6, 1.0, 1e6, 1e30]),
    clip_norm=st.sampled_from([1e-6, 0.03, 1.0, 1e4]),
)
def test_clipping_bounds_keeps_direction_and_is_idempotent(seed, clients, size, scale, clip_norm):
    """The invariants of DP-FedAvg's FlatClip, for all shapes and scales; norms by math.fsum."""
    rows = gaussian_rows(seed, clients, size, scale)
    clipped = clip_rows(rows, clip_norm)
    assert clipped.dtype == torch.float32
    for before, after in zip(rows.double(), clipped.double(), strict=True):
        norm_before = math.sqrt(math.fsum(x * x for x in before.tolist()))
        norm_after = math.sqrt(math.fsum(x * x for x in after.tolist()))
        assert norm_after <= clip_norm * (1 + 1e-15)
        if norm_before <= clip_norm:
            assert torch.equal(before, after)
        elif norm_after > 0:
            assert norm_after == pytest.approx(clip_norm, rel=3e-6)
            assert float(before @ after) / (norm_before * norm_after) >= 1 - 1e-12
    assert torch.equal(clip_rows(clipped, clip_norm), clipped)


def test_zero_rows_stay_zero_and_an_empty_cohort_stays_empty():
    """Flower 1.41 divides by zero here."""
    assert torch.equal(clip_rows(torch.zeros(2, 5), 0.1), torch.zeros(2, 5))
    assert clip_rows(torch.zeros(0, 5), 0.1).shape == (0, 5)
    assert clip_rows(torch.zeros(2, 0), 0.1).shape == (2, 0)


def test_values_whose_squares_overflow_float32_are_clipped_to_the_bound():
    """By hand: four equal values of 1e30 have norm 2e30; Flower 1.41 returns 0 here."""
    clipped = clip_rows(torch.full((1, 4), 1e30), 1.0)
    assert torch.allclose(clipped, torch.full((1, 4), 0.5), rtol=2e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_row_that_is_not_finite_is_refused_by_the_server_and_left_visible_by_the_client(bad):
    rows = torch.tensor([[3.0, 4.0], [1.0, bad]])
    with pytest.raises(ValueError, match=r"NaN or infinity in rows \[1\]"):
        clip_rows(rows, 1.0)
    clipped = clip_finite_rows(rows, 1.0)
    assert torch.allclose(clipped[0], torch.tensor([0.6, 0.8]), rtol=2e-6)
    assert torch.equal(clipped[1].nan_to_num(7.0), rows[1].nan_to_num(7.0))


@pytest.mark.parametrize("size", [1, 33, 8192, 20_001])
def test_a_row_has_the_same_bits_alone_and_in_a_cohort(size):
    rows = gaussian_rows(1, 9, size)
    clipped, norms = clip_rows(rows, 0.7), row_norms(rows)
    for k in range(len(rows)):
        assert torch.equal(clip_rows(rows[k : k + 1], 0.7)[0], clipped[k])
        assert torch.equal(row_norms(rows[k : k + 1])[0], norms[k])


def test_the_whole_vector_is_clipped_and_not_each_part_of_it():
    """By hand: a row of 20000 ones has norm sqrt(20000), across the internal column blocks too."""
    clipped = clip_rows(torch.ones(1, 20_000), 1.0)
    assert float(row_norms(clipped)) == pytest.approx(1.0, rel=3e-6)
    assert float(clipped[0, 0]) == pytest.approx(1 / math.sqrt(20_000), rel=3e-6)
