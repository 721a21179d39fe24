"""Copies, by hand."""

import numpy as np
import pytest

from gauntlet.defenses.parts.copies import copied


def crowd(*changes):
    rows = np.random.default_rng(0).normal(size=(10, 50))
    for rows_of, value in changes:
        rows[rows_of] = value
    return rows @ rows.T


def test_who_sends_the_same_is_found_and_a_near_copy_too():
    near = np.ones((3, 50)) + 0.01 * np.random.default_rng(1).normal(size=(3, 50))
    assert set(np.flatnonzero(copied(crowd(([2, 5, 7], near))))) == {2, 5, 7}
    assert not copied(crowd()).any()


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], list(range(10))])
def test_half_of_the_clients_or_all_of_them_are_no_copies(rows):
    assert not copied(crowd((rows, 1.0))).any()


def test_clients_that_send_nothing_are_no_copies():
    assert not copied(crowd(([1, 2], 0.0))).any()


def test_two_clients_cannot_be_told_apart():
    assert not copied(np.ones((2, 2))).any()
