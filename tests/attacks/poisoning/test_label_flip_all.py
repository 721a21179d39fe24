"""Oracles: the flips written out by hand; applied twice they are the identity."""

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.label_flip_all import LabelFlipAll
from gauntlet.core.seeds import generator


def test_labels_are_mirrored_and_twice_is_the_identity():
    attack, y = LabelFlipAll(num_classes=10), torch.tensor([0, 1, 7, 9, 4])
    x = torch.rand(5, 3)
    _, once = attack.poison(x, y, generator(0, "poison"))
    assert once.tolist() == [9, 8, 2, 0, 5]
    assert torch.equal(attack.poison(x, once, generator(0, "poison"))[1], y)


def test_labels_of_another_task_are_refused():
    with pytest.raises(ValueError, match="labels must be below num_classes = 5, got 7"):
        LabelFlipAll(5).poison(torch.rand(1, 3), torch.tensor([7]), generator(0, "poison"))
    with pytest.raises(ValueError, match="num_classes must be at least 2, got 1"):
        LabelFlipAll(1)


def test_no_examples_are_no_trouble():
    _, y = LabelFlipAll(10).poison(torch.rand(0, 3), torch.zeros(0, dtype=torch.int64), generator(0, "p"))
    assert len(y) == 0


def test_only_the_middle_of_an_odd_number_of_classes_stays():
    """By hand: 2 of 0 to 4."""
    moved = LabelFlipAll(5).poison(torch.rand(5, 1), torch.arange(5), generator(0, "p"))[1].numpy()
    np.testing.assert_array_equal(moved, [4, 3, 2, 1, 0])


def test_success_is_measured_on_every_class_but_the_middle_one():
    goal = LabelFlipAll(5).goal(torch.arange(5.0)[:, None], torch.arange(5))
    assert goal.x.flatten().tolist() == [0.0, 1.0, 3.0, 4.0]
    assert (goal.truth.tolist(), goal.wanted.tolist()) == ([0, 1, 3, 4], [4, 3, 1, 0])
