"""The matrix of a cohort's updates."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.core.updates import Updates, concatenate, finite_rows, row_norms, weighted_sum


def cohort(ids: list[int]) -> Updates:
    vectors = torch.tensor([[float(i), -float(i)] for i in ids])
    return Updates(vectors, torch.tensor(ids), torch.tensor([10 * (i % 100) for i in ids]))


def test_ids_whose_difference_int64_cannot_hold_still_ascend() -> None:
    """2^62 - (-2^63) is 1.5 times 2^63: as int64 it is negative. Node ids of Flower lie that far apart."""
    far = [-(2**63), 2**62]
    assert cohort(far).client_ids.tolist() == far
    parts = [cohort(far[1:]), cohort(far[:1])]
    assert concatenate(parts, expected_size=2).client_ids.tolist() == far


@pytest.mark.parametrize("ids", [[2, 1], [1, 1], [1, -(2**63)]])
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


@pytest.mark.parametrize("weights", [[1.0, 20.0, 3.0], [0.5, 0.0, -2.0], [0.0, 7.0, 0.0], [0.0] * 3])
def test_sums_and_norms_are_those_of_the_whole_matrix_whatever_the_blocks(monkeypatch, weights):
    """Oracle: NumPy in float64; with nearly all clients, or few, or none."""
    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 50)).astype(np.float32))
    exact = rows.numpy().astype(np.float64)
    for block, height, width in ((2**20, 64, 8192), (3 * 7, 2, 9)):
        monkeypatch.setattr("gauntlet.core.updates.EXACT_ELEMENTS", block)
        monkeypatch.setattr("gauntlet.core.updates.NORM_ROWS", height)
        monkeypatch.setattr("gauntlet.core.updates.NORM_COLUMNS", width)
        total = weighted_sum(rows, torch.tensor(weights))
        np.testing.assert_allclose(total, np.array(weights) @ exact, rtol=1e-14, atol=1e-14)
        np.testing.assert_allclose(row_norms(rows), np.linalg.norm(exact, axis=1), rtol=1e-14)
        apart = np.linalg.norm(exact - exact[1], axis=1)
        np.testing.assert_allclose(row_norms(rows, rows[1]), apart, rtol=1e-14)


@pytest.mark.parametrize("left_out", [[1], [0, 1]])
@pytest.mark.parametrize("bad", [math.inf, math.nan, 3e38])
def test_who_has_no_weight_adds_nothing_whatever_was_sent(left_out, bad):
    """By hand; 0 times infinity would be NaN."""
    rows = torch.tensor([[1.0, 2.0], [2.0, 3.0], [4.0, 5.0]])
    rows[left_out, 0] = bad
    weights = torch.ones(3).index_fill(0, torch.tensor(left_out), 0.0)
    expected = [5.0, 7.0] if left_out == [1] else [4.0, 5.0]
    assert weighted_sum(rows, weights).tolist() == expected


@pytest.mark.parametrize("cohort_size", [1, 2, 5, 23, 70])
def test_the_number_of_threads_changes_no_bit_of_a_sum_or_a_norm(cohort_size):
    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((cohort_size, 70_003), np.float32))
    weights = torch.linspace(0.1, 0.9, cohort_size, dtype=torch.float64)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            few = weighted_sum(rows, weights.where(torch.arange(cohort_size) == 0, 0.0))
            found.append(torch.cat([weighted_sum(rows, weights), few, row_norms(rows)]))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_a_norm_has_the_same_bits_alone_and_in_a_cohort():
    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((70, 40_003), np.float32))
    alone = [row_norms(rows[k : k + 1])[0] for k in range(70)]
    assert torch.equal(torch.stack(alone), row_norms(rows))


def test_an_empty_cohort_sums_to_zero_and_has_no_norms():
    assert not weighted_sum(torch.zeros(0, 3), torch.zeros(0)).any()
    assert weighted_sum(torch.zeros(2, 0), torch.ones(2)).shape == (0,)
    assert row_norms(torch.zeros(0, 3)).shape == (0,)
    assert row_norms(torch.zeros(2, 0)).tolist() == [0.0, 0.0]


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


def test_rows_of_all_are_the_cohort_itself_and_of_some_are_not() -> None:
    updates = Updates(torch.ones(2, 3), torch.tensor([4, 9]), torch.tensor([1, 1]))
    assert updates.rows(torch.tensor([True, True])) is updates
    assert updates.rows(torch.tensor([False, True])).client_ids.tolist() == [9]
    with pytest.raises(IndexError):
        updates.rows(torch.tensor([True]))
