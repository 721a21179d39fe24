"""Oracle: a count of the rows that an answer was worked out for."""

import gc

import numpy as np
import pytest
import torch

from gauntlet.defenses.parts import asked_rows
from gauntlet.defenses.parts.asked_rows import by_row


@pytest.fixture
def asked(cohort, at):
    """Return a function that asks for the sums of a cohort's rows, and the numbers of rows it worked on."""
    worked = []

    def ask(rows, forward, options=(), **context):
        updates = at(cohort(rows), forward=forward, **context)

        def sums(numbers):
            worked.append(numbers.tolist())
            return updates.vectors[numbers].sum(dim=1).numpy()

        return by_row(updates, updates.context, options, sums)

    return ask, worked


def model():
    return lambda params, x, buffers=None: x


def test_equal_rows_and_rows_of_before_are_worked_out_once(asked):
    ask, worked = asked
    run = model()
    np.testing.assert_array_equal(ask([[1.0, 2.0], [4.0, 5.0], [1.0, 2.0]], run), [3.0, 9.0, 3.0])
    np.testing.assert_array_equal(ask([[7.0, 7.0], [4.0, 5.0], [0.0, 2.0]], run), [14.0, 9.0, 2.0])
    np.testing.assert_array_equal(ask([[0.0, 2.0], [1.0, 2.0]], run), [2.0, 3.0])
    assert worked == [[0, 1], [0, 2]]


def test_whatever_counts_besides_makes_a_row_new(asked):
    ask, worked = asked
    run = model()
    others = [
        {},
        {"round_": 3},
        {"seed": 3},
        {"params": torch.ones(2)},
        {"options": (1,)},
        {"forward": model()},
    ]
    for other in others:
        ask([[1.0, 2.0]], **{"forward": run, **other})
    assert worked == [[0]] * len(others)


def test_nothing_outlives_the_round_and_a_round_keeps_no_more_than_it_may(asked, monkeypatch):
    ask, worked = asked
    run, before = model(), len(asked_rows._KEPT)
    monkeypatch.setattr(asked_rows, "MOST", 3)
    ask([[1.0, 2.0], [4.0, 5.0]], run)
    ask([[1.0, 2.0], [6.0, 5.0], [7.0, 5.0]], run)
    assert len(asked_rows._KEPT[run]) == 3
    ask([[4.0, 5.0]], run)
    assert worked == [[0, 1], [1, 2], [0]]
    del run
    gc.collect()
    assert len(asked_rows._KEPT) == before
