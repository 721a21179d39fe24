"""Oracle: points on a line, whose neighbours can be counted by hand; scikit-learn's neighbours."""

import numpy as np
import pytest
import torch

from gauntlet.attacks.poisoning.edge_case import NEIGHBOURS, EdgeCase
from gauntlet.core.seeds import generator


def test_the_loneliest_examples_of_the_source_get_the_target_and_no_others():
    """Class 7 stands at 0, 0.1, ... 0.7 and at 5 and 9; class 0 at 100 is far away but of another class."""
    places = [0.1 * i for i in range(8)] + [5.0, 9.0, 100.0]
    x, y = torch.tensor(places)[:, None], torch.tensor([7] * 10 + [0])
    new_x, new_y = EdgeCase(source=7, target=1, share=0.2).poison(x, y, generator(0, "poison"))
    assert new_y.tolist() == [7] * 8 + [1, 1] + [0]
    assert torch.equal(new_x, x)


def test_rarity_is_the_mean_distance_to_the_nearest_neighbours_of_scikit_learn():
    from sklearn.neighbors import NearestNeighbors

    points = np.random.default_rng(3).normal(size=(50, 4)).astype(np.float32)
    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(points).kneighbors(points)[0]
    expected = sorted(np.argsort(-nearest[:, 1:].mean(axis=1))[:10].tolist())
    goal = EdgeCase(source=7, target=1).goal(torch.from_numpy(points), torch.full((50,), 7))
    assert torch.equal(goal.x, torch.from_numpy(points)[expected])
    assert set(goal.truth.tolist()) == {7}
    assert set(goal.wanted.tolist()) == {1}


@pytest.mark.parametrize(("labels", "expected"), [([3, 0], [3, 0]), ([7, 0], [1, 0]), ([7, 7], [1, 7])])
def test_few_examples_of_the_source_are_survived(labels, expected):
    """None: nothing to do. One: it is rare. Two, as far from each other: the first."""
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor(labels)
    assert EdgeCase().poison(x, y, generator(0, "poison"))[1].tolist() == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"source": 1, "target": 1}, "two different classes"),
        ({"source": -1}, "from 0, got -1"),
        ({"share": 0.0}, "share must be above 0"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        EdgeCase(**options)
