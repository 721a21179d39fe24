"""Oracle: masks by hand, from the models that were broadcast."""

from dataclasses import replace

import pytest
import torch

from gauntlet.attacks.poisoning.neurotoxin import Neurotoxin, quietest


def test_only_the_coordinates_that_the_global_model_left_alone_are_attacked(scene):
    """By hand: moved by 5, 0.1, -4, 0.2: with half of them kept, the second and the fourth."""
    own, view = scene([[0.0] * 4], [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    attack = Neurotoxin(ratio=0.5)
    sent, state = attack.corrupt(own, replace(view, round=3), attack.init())
    assert torch.equal(sent.vectors, own.vectors)  # nothing to compare with yet

    moved = view.params + torch.tensor([5.0, 0.1, -4.0, 0.2])
    sent, _ = attack.corrupt(own, replace(view, round=4, params=moved), state)
    assert sent.vectors.tolist() == [[0.0, 2.0, 0.0, 4.0], [0.0, 6.0, 0.0, 8.0]]


def test_a_ratio_of_one_masks_nothing_and_ties_go_by_position():
    assert quietest(torch.tensor([3.0, -1.0, 2.0]), 1.0).tolist() == [True, True, True]
    assert quietest(torch.zeros(10), 0.3).sum() == 3
    assert quietest(torch.zeros(4), 0.5).tolist() == [True, True, False, False]


@pytest.mark.parametrize("ratio", [0.0, 1.1, float("nan")])
def test_a_ratio_out_of_range_is_refused(ratio):
    with pytest.raises(ValueError, match="ratio must be above 0 and at most 1, got"):
        Neurotoxin(ratio)
