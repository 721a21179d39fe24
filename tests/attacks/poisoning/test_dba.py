"""Oracle: robustness spec 3.1: four lines of 1 x 4, rows 0 and 3, columns 0-3 and 6-9; the parts are disjoint
and their union is the trigger."""

import pytest
import torch

from gauntlet.attacks.poisoning.dba import DistributedBackdoor
from gauntlet.core.roles import Role
from gauntlet.core.seeds import generator


def line(row, first, last):
    return tuple((row, column) for column in range(first, last + 1))


def test_the_default_lines_are_those_of_the_authors_code_for_mnist():
    assert DistributedBackdoor().lines() == (line(0, 0, 3), line(0, 6, 9), line(3, 0, 3), line(3, 6, 9))


def test_size_gap_and_location_move_the_lines():
    """By hand, for digits of 8 x 8."""
    attack = DistributedBackdoor(trigger_size=2, trigger_gap=3, trigger_location=(1, 1))
    assert attack.lines() == (line(1, 1, 2), line(1, 6, 7), line(5, 1, 2), line(5, 6, 7))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
def test_the_parts_of_all_attackers_make_the_whole_trigger(count):
    """However many attackers there are; disjoint unless there are more attackers than lines."""
    attack = DistributedBackdoor()
    parts = [attack.part(index, count).pixels for index in range(count)]
    together = [pixel for part in parts for pixel in part]
    assert set(together) == {pixel for part in attack.lines() for pixel in part}
    assert len(together) == (16 if count <= 4 else 4 * count)
    assert all(parts)


def test_each_of_four_attackers_stamps_its_own_line_and_success_needs_all_of_them():
    attack, x, y = DistributedBackdoor(target=2, fraction=1.0), torch.zeros(1, 1, 10, 10), torch.tensor([5])
    role = Role("dba", attack, (3, 8, 11, 20))
    stamped = [role.of(client, 0).poison(x, y, generator(0, "p"))[0] for client in role.clients]
    assert [image[0, 0].nonzero().tolist() for image in stamped] == [
        [list(pixel) for pixel in part] for part in attack.lines()
    ]
    assert torch.equal(sum(stamped), attack.goal(x, y).x)
    assert torch.equal(sum(stamped), attack.poison(x, y, generator(0, "p"))[0])


def test_examples_of_the_target_are_left_out_of_the_goal():
    goal = DistributedBackdoor(target=2).goal(torch.zeros(3, 1, 10, 10), torch.tensor([2, 0, 2]))
    assert (goal.truth.tolist(), goal.wanted.tolist()) == ([0], [2])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"trigger_size": 0}, "trigger_size must be at least 1, got 0"),
        ({"trigger_gap": -1}, "trigger_gap must be at least 0, got -1"),
        ({"trigger_location": (0, -1)}, "trigger_location must be at least 0"),
        ({"fraction": 0.0}, "fraction must be above 0"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        DistributedBackdoor(**options)
