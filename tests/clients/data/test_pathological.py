import numpy as np
import pytest

from gauntlet.clients.data.pathological import Pathological


@pytest.mark.parametrize("k", [1, 2, 10])
def test_every_client_holds_exactly_k_classes_the_first_in_turn(mnist_labels, k):
    """Li et al. (2022), #C = k: client i holds class i mod C."""
    y = mnist_labels[::10]
    rows = Pathological(k).split(y, None, 30, 1)
    counts = np.stack([np.bincount(y[r], minlength=10) for r in rows])
    assert (counts > 0).sum(axis=1).tolist() == [k] * 30
    assert all(counts[i, i % 10] > 0 for i in range(30))
    assert counts.sum() == 6000
    for column in counts.T:  # a class is cut evenly among those who got it
        assert np.ptp(column[column > 0]) <= 1


def test_more_classes_than_there_are_is_refused():
    with pytest.raises(
        ValueError, match="classes_per_client must be at most 3, the number of classes, got 4"
    ):
        Pathological(4).split(np.arange(30) % 3, None, 2, 0)


def test_a_class_too_small_for_those_who_drew_it_is_refused_in_one_line():
    y = np.array([0] * 100 + [1])
    with pytest.raises(
        ValueError, match=r"fewer examples than clients that drew it \(5 clients with 2"
    ) as caught:
        Pathological(2).split(y, None, 5, 0)
    assert "smallest class 1" in str(caught.value)


def test_an_option_out_of_range_is_refused():
    with pytest.raises(ValueError, match="classes_per_client must be at least 1, got 0"):
        Pathological(0)
