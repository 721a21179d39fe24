"""What stands in a report of rebuilt sequences."""

import numpy as np
import pytest

from gauntlet.sims.rebuilt import Rebuilt
from gauntlet.sims.report.leakage import token_figure


def rebuilt(truth, made, right):
    one = np.array([np.nan])
    labels = np.zeros((1, 3), dtype=int)
    return Rebuilt(
        "lamp", {}, 0, 0, "E", np.array([truth]), np.array([made]), one, one, labels, labels,
        tokens=np.array([right]),
    )  # fmt: skip


def test_tokens_in_their_place_are_marked_and_stand_below_the_true_ones():
    page = str(token_figure("lamp", rebuilt([3, 5, 7], [3, 7, 7], 2 / 3), 1))

    assert "true 1: 3 5 7" in page
    assert "rebuilt 1: <mark>3</mark> <span>7</span> <mark>7</mark> (67 % of tokens right)" in page


@pytest.mark.parametrize("made", [[-1, 2, 4], [0, 0, 0]])
def test_where_the_truth_is_not_known_none_is_marked(made):
    page = str(token_figure("lamp", rebuilt([-1, -1, -1], made, 0.0), 1))

    assert "<mark>" not in page
    assert "true 1" not in page
