"""One vector a client, by stable id."""

import json

import pytest
import torch

from gauntlet.core.client_rows import rows_of, with_rows, without
from gauntlet.core.trees import equal, pack, unpack

ZEROS = torch.zeros(2)


def test_a_client_that_never_came_has_the_first_vector_and_no_entry():
    memory = with_rows({}, [3], torch.tensor([[1.0, 2.0]]))
    assert rows_of(memory, [7, 3], torch.tensor([5.0, 6.0])).tolist() == [[5.0, 6.0], [1.0, 2.0]]
    assert list(memory) == [3]


def test_rows_follow_their_client_through_cohorts_of_others():
    memory = with_rows({}, [1, 5], torch.tensor([[1.0, 1.0], [5.0, 5.0]]))
    memory = with_rows(memory, [5, 9], torch.tensor([[6.0, 6.0], [9.0, 9.0]]))
    assert rows_of(memory, [1, 5, 9], ZEROS).tolist() == [[1.0, 1.0], [6.0, 6.0], [9.0, 9.0]]


def test_a_change_leaves_the_memory_before_it_and_what_it_was_given_apart():
    rows = torch.tensor([[1.0, 2.0]])
    before = with_rows({}, [3], rows)
    after = with_rows(before, [3], rows + 1)
    rows.zero_()
    rows_of(before, [3], ZEROS).zero_()
    assert before[3].tolist() == [1.0, 2.0]
    assert after[3].tolist() == [2.0, 3.0]


def test_a_row_holds_no_more_memory_than_its_own():
    """Not the matrix of the cohort that it came with: that would stay while one of its clients does."""
    memory = with_rows({}, [0, 1], torch.zeros(2, 1000))
    assert [row.untyped_storage().nbytes() for row in memory.values()] == [4000, 4000]


def test_clients_can_be_forgotten():
    memory = with_rows({}, [1, 2], torch.zeros(2, 2))
    assert list(without(memory, [2, 8])) == [1]
    assert list(memory) == [1, 2]


def test_a_memory_is_a_state_that_survives_a_checkpoint():
    memory = with_rows({}, [9, 4], torch.tensor([[0.1, -0.0], [float("inf"), 2.0]]))
    skeleton, tensors = pack(memory)
    assert equal(unpack(json.loads(json.dumps(skeleton)), tensors), memory)


def test_nobody_is_asked_for_or_written():
    assert rows_of({}, [], ZEROS).shape == (0, 2)
    assert with_rows({}, [], torch.zeros(0, 2)) == {}


def test_vectors_and_rows_that_do_not_fit_are_refused():
    memory = with_rows({}, [3], torch.zeros(1, 5))
    with pytest.raises(ValueError, match=r"client 3 is remembered by a vector \[5\], expected \[2\]"):
        rows_of(memory, [3], ZEROS)
    with pytest.raises(ValueError, match="2 clients need as many rows, got 1"):
        with_rows({}, [3, 4], torch.zeros(1, 5))
