"""Oracle: the flips written out by hand, with the classes of the MUD-HoG experiments."""

import pytest
import torch

from gauntlet.attacks.poisoning.multi_label_flip import MultiLabelFlip
from gauntlet.core.seeds import generator


def test_every_source_becomes_the_target():
    """arXiv 2208.10273: 1, 2 and 3 are taught as 7."""
    x, y = torch.rand(10, 4), torch.arange(10)
    new_x, new_y = MultiLabelFlip().poison(x, y, generator(0, "poison"))
    assert new_y.tolist() == [0, 7, 7, 7, 4, 5, 6, 7, 8, 9]
    assert torch.equal(new_x, x)


@pytest.mark.parametrize(("sources", "target"), [((), 7), ((-1, 2), 7), ((1,), -7)])
def test_classes_count_from_zero_and_there_is_at_least_one(sources, target):
    with pytest.raises(ValueError, match="must be classes from 0"):
        MultiLabelFlip(sources, target)


def test_the_target_is_no_source():
    with pytest.raises(ValueError, match=r"target must be none of sources, got 2 among \(1, 2\)"):
        MultiLabelFlip((1, 2), 2)


def test_success_is_measured_on_the_source_classes():
    x, y = torch.arange(4.0)[:, None], torch.tensor([1, 0, 7, 3])
    goal = MultiLabelFlip((1, 3), 7).goal(x, y)
    assert goal.x.flatten().tolist() == [0.0, 3.0]
    assert (goal.truth.tolist(), goal.wanted.tolist()) == ([1, 3], [7, 7])
