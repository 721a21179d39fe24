"""Oracle: the swap written out by hand."""

import pytest
import torch

from gauntlet.attacks.poisoning.label_swap import LabelSwap
from gauntlet.core.seeds import generator


def test_two_classes_change_places_and_twice_is_nothing():
    x, y = torch.rand(6, 2), torch.tensor([0, 1, 2, 0, 3, 1])
    new_x, new_y = LabelSwap().poison(x, y, generator(0, "poison"))
    assert new_y.tolist() == [1, 0, 2, 1, 3, 0]
    assert torch.equal(new_x, x)
    assert torch.equal(LabelSwap().poison(x, new_y, generator(0, "poison"))[1], y)


def test_success_is_measured_on_both_classes():
    x, y = torch.arange(4.0)[:, None], torch.tensor([5, 3, 3, 9])
    attack = LabelSwap(3, 5)
    goal = attack.goal(x, y)
    assert goal.x.flatten().tolist() == [0.0, 1.0, 2.0]
    assert (goal.truth.tolist(), goal.wanted.tolist()) == ([5, 3, 3], [3, 5, 5])
    assert attack.sources == (3, 5)


@pytest.mark.parametrize("classes", [(1, 1), (-1, 2), (0, -2)])
def test_two_different_classes_are_needed(classes):
    with pytest.raises(ValueError, match="first and second must be two different classes from 0, got"):
        LabelSwap(*classes)
