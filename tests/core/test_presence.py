"""Which coordinates the clients of a cohort have. By hand, on four clients of three levels."""

import pytest
import torch

from gauntlet.core.layout import Layout, Slot
from gauntlet.core.presence import Presence, reduced
from gauntlet.core.updates import Updates, concatenate

LEVELS = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)
PRESENCE = Presence(LEVELS, torch.tensor([1, 0, 1, 2]))
ROWS = torch.tensor([[1.0, 2, 0, 0], [3, 4, 5, 0], [6, 7, 0, 0], [8, 0, 0, 0]])


def cohort(rows: torch.Tensor = ROWS, presence: Presence = PRESENCE) -> Updates:
    return Updates(rows, torch.arange(len(rows)), torch.ones(len(rows)).long(), presence=presence)


def test_coordinates_come_with_the_clients_that_have_them():
    found = {tuple(c.tolist()): r.tolist() for c, r in PRESENCE.owners()}

    assert found == {(0,): [0, 1, 2, 3], (1,): [0, 1, 2], (2,): [1], (3,): []}
    assert PRESENCE.totals(torch.tensor([1, 10, 100, 1000])).tolist() == [1111, 111, 10, 0]
    assert PRESENCE.sizes().tolist() == [2, 3, 2, 1]


def test_a_hundred_levels_are_told_apart():
    """More than a whole number has bits: coordinate j is had by the clients from j on."""
    levels = torch.arange(100)[:, None] >= torch.arange(100)
    presence = Presence(levels, torch.arange(100))

    found = {tuple(c.tolist()): len(r) for c, r in presence.owners()}

    assert found == {(j,): 100 - j for j in range(100)}


def test_what_a_level_lacks_is_exactly_zero():
    intruding = ROWS.clone()
    intruding[3, 2] = 1e-30

    with pytest.raises(ValueError, match="client 3 is of level 2, and its row is not 0 in coordinates that"):
        cohort(intruding)
    assert cohort().with_vectors(PRESENCE.masked(intruding)).vectors.tolist() == ROWS.tolist()
    intruding[3, 2] = float("nan")
    assert PRESENCE.masked(intruding).tolist() == ROWS.tolist()


def test_a_presence_of_another_cohort_is_refused():
    with pytest.raises(ValueError, match=r"vectors \[3, 4\] need such a presence, got \[4, 4\]"):
        cohort(ROWS[:3])
    with pytest.raises(ValueError, match="level must be from 0 to 2, got 3"):
        Presence(LEVELS, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="levels must be bool"):
        Presence(LEVELS.float(), torch.tensor([0]))


def test_rows_take_their_level_along():
    chosen = cohort().rows(torch.tensor([False, True, False, True]))

    assert chosen.presence is not None
    assert chosen.presence.level.tolist() == [0, 2]


def test_cohorts_of_different_levels_are_joined():
    """Clients 0 and 2 of one assignment, 1 and 3 of another with fewer levels."""
    even, odd = torch.tensor([0, 2]), torch.tensor([1, 3])
    other = Presence(LEVELS[::2], torch.tensor([0, 1]))
    left = cohort().rows(even)
    right = Updates(ROWS[odd], odd, torch.ones(2).long(), presence=other)

    both = concatenate([right, left], 4.0)

    assert both.vectors.tolist() == ROWS.tolist()
    assert both.presence is not None
    assert both.presence.levels[both.presence.level].tolist() == LEVELS[PRESENCE.level].tolist()
    assert PRESENCE.joined([PRESENCE]).level.tolist() == [1, 0, 1, 2] * 2
    with pytest.raises(ValueError, match="need a presence, or none; got 1 of 2"):
        concatenate([left, Updates(ROWS[odd], odd, torch.ones(2).long())], 4.0)


def test_what_is_left_of_a_layout_keeps_its_shape_where_it_has_one():
    """Rows 0 and 2 of a [3, 2]; columns 0 of a [2, 2]; three of a [2, 2]; nothing of a [1]."""
    slots = (Slot("a", (3, 2), 0), Slot("b", (2, 2), 6), Slot("c", (2, 2), 10), Slot("d", (1,), 14))
    present = torch.tensor([1, 1, 0, 0, 1, 1, 1, 0, 1, 0, 1, 1, 1, 0, 0], dtype=torch.bool)

    found = reduced(Layout(slots), present)

    expected = (Slot("a", (2, 2), 0), Slot("b", (2, 1), 4), Slot("c", (3,), 6))
    assert found == Layout(expected)
