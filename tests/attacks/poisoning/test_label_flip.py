"""Oracle: the flips written out by hand."""

import pytest
import torch

from gauntlet.attacks.poisoning.label_flip import LabelFlip
from gauntlet.core.seeds import generator


def test_every_example_of_the_source_becomes_the_target():
    x, y = torch.rand(6, 1, 8, 8), torch.tensor([1, 0, 7, 1, 9, 2])
    new_x, new_y = LabelFlip(source=1, target=7).poison(x, y, generator(0, "poison"))
    assert new_y.tolist() == [7, 0, 7, 7, 9, 2]
    assert torch.equal(new_x, x)
    assert y.tolist() == [1, 0, 7, 1, 9, 2]


def test_a_client_without_the_source_is_left_alone():
    x, y = torch.rand(3, 4), torch.tensor([0, 2, 3])
    assert torch.equal(LabelFlip().poison(x, y, generator(0, "poison"))[1], y)


@pytest.mark.parametrize(("source", "target"), [(3, 3), (-1, 2), (1, -7)])
def test_a_flip_needs_two_classes(source, target):
    with pytest.raises(ValueError, match=f"two different classes from 0, got {source} and {target}"):
        LabelFlip(source, target)


def test_success_is_measured_on_the_source_class():
    x, y = torch.arange(4.0)[:, None], torch.tensor([1, 0, 7, 1])
    goal = LabelFlip(source=1, target=7).goal(x, y)
    assert goal.x.flatten().tolist() == [0.0, 3.0]
    assert (goal.truth.tolist(), goal.wanted.tolist()) == ([1, 1], [7, 7])
