"""The matrix of a cohort's updates."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.core.updates import (
    Updates,
    concatenate,
    finite_rows,
    quick_norms,
    row_norms,
    weighted_sum,
    weighted_total,
)


def cohort(ids: list[int]) -> Updates:
    vectors = torch.tensor([[float(i), -float(i)] for i in ids])
    return Updates(vectors, torch.tensor(ids), torch.tensor([10 * i for i in ids]))


@pytest.mark.parametrize("ids", [[2, 1], [1, 1]])
def test_ids_that_do_not_ascend_strictly_are_refused(ids):
    with pytest.raises(ValueError, match="ascend strictly"):
        cohort(ids)


def test_a_missing_count_is_refused():
    with pytest.raises(ValueError, match="2 rows need 2 client_ids"):
        Updates(torch.zeros(2, 3), torch.tensor([1]), torch.tensor([1, 2]))


def test_a_vector_is_no_matrix():
    with pytest.raises(ValueError, match=r"\[K, P\]"):
        Updates(torch.zeros(3), torch.tensor([1]), torch.tensor([1]))


def test_the_expected_size_is_the_cohort_unless_given():
    assert cohort([1, 4, 6]).expected_size == 3
    assert Updates(torch.zeros(0, 2), torch.zeros(0).long(), torch.zeros(0).long(), 5.0).expected_size == 5


def test_rows_keep_every_column_of_the_chosen_clients():
    chosen = cohort([1, 4, 6]).rows(torch.tensor([True, False, True]))

    assert chosen.client_ids.tolist() == [1, 6]
    assert chosen.vectors.tolist() == [[1, -1], [6, -6]]
    assert chosen.num_examples.tolist() == [10, 60]
    assert chosen.expected_size == 3


def test_an_update_whose_sum_overflows_is_finite_all_the_same():
    """3e38 + 3e38 is infinite in float32; the entries are not."""
    vectors = torch.tensor([[3e38, 3e38, 0.0], [3e38, math.inf, 0.0], [1.0, 2.0, 3.0]])
    updates = Updates(vectors, torch.arange(3), torch.ones(3, dtype=torch.int64))

    assert finite_rows(updates).tolist() == [True, False, True]
    buffers = torch.tensor([[0.0], [0.0], [math.nan]])
    assert finite_rows(replace(updates, buffers=buffers)).tolist() == [True, False, False]


def test_norms_are_summed_in_float64():
    """By hand: the squares of 2^70 overflow float32; and 10,000 ones after 1e4."""
    rows = torch.tensor([[2.0**70, 2.0**70], [3.0, 4.0]])

    assert row_norms(rows).tolist() == pytest.approx([2**70.5, 5.0], rel=1e-12)
    long = torch.cat([torch.tensor([1e4]), torch.ones(10_000)])[None]
    assert float(row_norms(long)[0]) == pytest.approx((1e8 + 1e4) ** 0.5, rel=1e-12)


def test_a_weighted_sum_is_the_same_in_blocks_of_columns(monkeypatch):
    """Oracle: NumPy in float64."""
    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 50)).astype(np.float32))
    weights = torch.tensor([1.0, 20.0, 3.0], dtype=torch.float64)
    monkeypatch.setattr("gauntlet.core.updates._BLOCK", 3 * 7)

    total, norms = weighted_sum(rows, weights)
    exact = rows.numpy().astype(np.float64)
    np.testing.assert_allclose(total.numpy(), weights.numpy() @ exact, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(norms.numpy(), np.linalg.norm(exact, axis=1), rtol=1e-14)


def test_parts_are_joined_in_ascending_id_whatever_their_order():
    joined = concatenate([cohort([5, 9]), cohort([2])], expected_size=4)

    assert joined.client_ids.tolist() == [2, 5, 9]
    assert joined.vectors[:, 0].tolist() == [2, 5, 9]
    assert joined.expected_size == 4


def test_parts_that_interleave_are_joined_with_every_column_in_place():
    """By hand: rows 1 and 7 among 3 and 9."""
    first, second = cohort([3, 9]), cohort([1, 7])
    joined = concatenate([first, second], expected_size=4)
    assert joined.client_ids.tolist() == [1, 3, 7, 9]
    for part in (first, second):
        at = torch.isin(joined.client_ids, part.client_ids)
        assert torch.equal(joined.vectors[at], part.vectors)
        assert torch.equal(joined.num_examples[at], part.num_examples)
        assert torch.equal(joined.buffers[at], part.buffers)


def test_a_client_in_two_parts_is_refused():
    with pytest.raises(ValueError, match="ascend strictly"):
        concatenate([cohort([1, 2]), cohort([2])], 3)


@pytest.mark.parametrize("size", [3, 1024, 5000])
@pytest.mark.parametrize("scale", [0.0, 1e-42, 1e-25, 1e-3, 1.0, 1e30])
def test_quick_norms_are_the_norms_to_rounding_whatever_their_size(size, scale):
    """Oracle: ``row_norms``, in float64; within 1e-6, also where the squares leave float32."""
    vectors = scale * torch.randn(4, size, generator=torch.Generator().manual_seed(0))

    assert torch.allclose(quick_norms(vectors), row_norms(vectors), rtol=1e-6, atol=0.0)


def test_quick_norms_of_broken_rows_are_not_finite_and_spoil_no_other():
    vectors = torch.ones(3, 2048)
    vectors[0, 5], vectors[2, 2000] = float("nan"), float("inf")

    assert quick_norms(vectors).isfinite().tolist() == [False, True, False]


def test_a_weighted_total_is_summed_in_float64():
    """By hand: 1e8 and 1 are added although float32 would lose the 1; weights 1 and 1."""
    vectors = torch.tensor([[1e8], [1.0]])

    assert weighted_total(vectors, torch.ones(2)).tolist() == [100000001.0]
