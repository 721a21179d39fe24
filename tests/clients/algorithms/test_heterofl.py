"""HeteroFL's own functions. Oracles: hand calculations of the spec's fixed points."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from gauntlet.clients.algorithms.heterofl import HeteroFL
from gauntlet.core.seeds import generator


def levels(algorithm: HeteroFL, num_clients: int, round_: int = 0) -> list[int]:
    draws = [partial(generator, 0, "level", round_, client) for client in range(num_clients)]
    return [algorithm.level(client, num_clients, draw) for client, draw in enumerate(draws)]


def test_fixed_levels_go_by_id_and_share():
    """Ten clients at shares .2, .3, .5; and five equal shares of seven: where the middles of sevenths are."""
    shared = HeteroFL((1.0, 0.5, 0.25), (0.2, 0.3, 0.5), mode="fix")
    assert levels(shared, 10) == [0, 0, 1, 1, 1, 2, 2, 2, 2, 2]
    assert levels(shared, 10, round_=5) == levels(shared, 10)
    assert levels(HeteroFL(mode="fix"), 7) == [0, 1, 1, 2, 3, 3, 4]
    assert levels(HeteroFL((0.5,), mode="fix"), 3) == [0, 0, 0]


def test_drawn_levels_have_their_shares_and_are_new_in_each_round():
    """5,000 draws at .7 and .3: the count is within four standard deviations, 4 sqrt(.21 / 5000) = .026."""
    algorithm = HeteroFL((1.0, 0.5), (0.7, 0.3))
    found = np.array([levels(algorithm, 100, round_) for round_ in range(50)])

    assert found.mean() == pytest.approx(0.3, abs=0.026)
    assert (found[0] != found[1]).any()
    assert levels(algorithm, 100, 3) == found[3].tolist()
    assert algorithm.levels_stay is False
    assert HeteroFL(mode="fix").levels_stay is True


def test_rows_of_the_classifier_are_about_labels():
    """Linear 2-3-2: six weights and three biases about none, then rows 0 and 1 of [2, 3], and two biases."""
    labels = HeteroFL().labels
    assert labels is not None
    about = labels(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)))

    assert about.tolist() == [-1] * 9 + [0, 0, 0, 1, 1, 1] + [0, 1]
    assert HeteroFL(mask=False).labels is None


def test_gradients_are_left_as_they_are():
    gradient = torch.randn(3, 5)
    assert HeteroFL().correct(gradient, gradient, gradient) is gradient


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"rates": ()}, "at least one, got []"),
        ({"rates": (1.0, 0.0)}, "rates must be above 0 and at most 1"),
        ({"rates": (1.5,)}, "rates must be above 0 and at most 1"),
        ({"rates": (1.0, 0.5), "shares": (1.0,)}, "as many as rates (2), got [1.0]"),
        ({"rates": (1.0, 0.5), "shares": (1.2, -0.2)}, "shares must be above 0"),
        ({"rates": (1.0, 0.5), "shares": (0.5, 0.4)}, "shares must sum to 1, got 0.9"),
        ({"mode": "static"}, "mode must be fix or dynamic, got 'static'"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError) as caught:
        HeteroFL(**options)
    assert complaint in str(caught.value)
