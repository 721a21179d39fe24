import numpy as np
import pytest

from gauntlet.clients.data.shards import Shards


def test_mcmahans_clients_hold_two_whole_shards_of_300(mnist_labels):
    """McMahan et al. (2017), Section 3: sort by label, 200 shards of 300, 2 for each of 100 clients."""
    y = np.random.default_rng(0).permutation(mnist_labels)
    rows = Shards().split(y, None, 100, 7)
    shards = np.argsort(y, kind="stable").reshape(200, 300)
    holder = np.full(60_000, -1)
    for i, r in enumerate(rows):
        holder[r] = i
    of_shards = holder[shards]  # [200, 300]
    assert (of_shards == of_shards[:, :1]).all()
    assert np.bincount(of_shards[:, 0]).tolist() == [2] * 100
    assert max(len(np.unique(y[r])) for r in rows) <= 4


def test_examples_beyond_whole_shards_go_to_nobody():
    rows = Shards(shards_per_client=3).split(np.zeros(100, dtype=np.int64), None, 4, 0)
    assert [len(r) for r in rows] == [24] * 4  # 12 shards of 8; 4 examples are left


def test_more_shards_than_examples_are_refused_with_the_numbers():
    with pytest.raises(
        ValueError, match="100 examples cannot give 60 clients at least 2 each; take at most 50"
    ):
        Shards().split(np.zeros(100, dtype=np.int64), None, 60, 0)


def test_an_option_out_of_range_is_refused():
    with pytest.raises(ValueError, match="shards_per_client must be at least 1, got 0"):
        Shards(shards_per_client=0)
