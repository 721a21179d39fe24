import numpy as np
import pytest

from gauntlet.clients.data.flower import flower_rows
from gauntlet.clients.data.iid import Iid


def test_sizes_are_those_of_array_split_and_nothing_is_left_over():
    """Oracle: numpy.array_split of 103 examples in 10 parts."""
    rows = Iid().split(np.zeros(103, dtype=np.int64), None, 10, 0)
    assert [len(r) for r in rows] == [len(p) for p in np.array_split(np.arange(103), 10)]
    assert np.sort(np.concatenate(rows)).tolist() == list(range(103))


def test_the_rows_are_those_that_flowers_partitioner_deals():
    """Oracle: flwr_datasets.partitioner.IidPartitioner on the same shuffled table."""
    y = np.zeros(103, dtype=np.int64)
    expected = flower_rows(lambda flower: flower.IidPartitioner(10), y, seed=5)

    rows = Iid().split(y, None, 10, 5)

    assert [r.tolist() for r in rows] == [r.tolist() for r in expected]


def test_every_client_gets_about_its_share_of_each_class():
    y = np.repeat(np.arange(10), 1000)
    counts = np.stack([np.bincount(y[r], minlength=10) for r in Iid().split(y, None, 10, 0)])
    assert counts.mean() == 100
    assert counts.std() == pytest.approx(np.sqrt(1000 * 0.1 * 0.9 * 0.9), rel=0.2)  # hypergeometric, n = N


def test_more_clients_than_examples_are_refused_with_the_numbers():
    with pytest.raises(ValueError, match="3 examples cannot give 4 clients at least 1 each; take at most 3"):
        Iid().split(np.zeros(3, dtype=np.int64), None, 4, 0)
