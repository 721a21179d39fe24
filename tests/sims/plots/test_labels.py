"""Label distributions: heights and colours read back from the picture."""

import numpy as np
import pytest

from gauntlet.core.errors import ScenarioError
from gauntlet.sims.plots.labels import label_distribution


def test_bars_are_as_high_as_the_counts_and_stand_on_each_other():
    figure, table = label_distribution(np.array([[3, 1], [0, 5]]), ["cat", "dog"])

    (axes,) = figure.axes
    assert [(bar.get_x() + bar.get_width() / 2, bar.get_y(), bar.get_height()) for bar in axes.patches] == [
        (0, 0, 3), (1, 0, 0), (0, 3, 1), (1, 0, 5),
    ]  # fmt: skip
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["cat", "dog"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Client", "Examples")
    assert table.to_numpy().tolist() == [[0, "cat", 3], [0, "dog", 1], [1, "cat", 0], [1, "dog", 5]]


@pytest.mark.parametrize("shape", [(41, 2), (3, 9)])
def test_many_clients_or_classes_become_a_map_with_one_column_a_client(shape):
    counts = np.arange(shape[0] * shape[1]).reshape(shape)
    figure, _ = label_distribution(counts)
    axes, bar = figure.axes
    assert np.array_equal(axes.images[0].get_array(), counts.T)
    assert axes.images[0].get_clim() == (0, counts.max())
    assert (axes.get_ylabel(), bar.get_ylabel()) == ("Class", "Examples")


def test_above_a_thousand_clients_the_first_thousand_are_drawn_and_the_picture_says_so():
    figure, table = label_distribution(np.ones((1001, 2), int))
    assert figure.get_supxlabel() == "The first 1000 of 1001 clients."
    assert table["client_id"].max() == 999


@pytest.mark.parametrize("counts", [np.zeros((0, 3)), np.zeros(3), np.array([[-1]]), np.array([[np.nan]])])
def test_what_is_no_matrix_of_counts_is_refused(counts):
    with pytest.raises(ScenarioError, match=r"matrix \[clients, classes\] of numbers >= 0, got"):
        label_distribution(counts)


def test_another_number_of_names_is_refused():
    with pytest.raises(ScenarioError, match="2 classes need as many names, got 1"):
        label_distribution(np.ones((1, 2)), ["cat"])
