import numpy as np
import pytest

from gauntlet.clients.data.flower import flower_rows
from gauntlet.clients.data.natural import Natural


@pytest.mark.parametrize(
    "groups", [np.array([2, 0, 7, 2, 0, 2]), np.array(["va", "bern", "va", "zoo", "va", "bern"])]
)
def test_each_group_is_a_client_in_sorted_order(groups, capfd):
    """Oracle: flwr-datasets' NaturalIdPartitioner."""
    rows = Natural().split(np.zeros(6, dtype=np.int64), groups, 3, 0)
    oracle = flower_rows(
        lambda f: f.NaturalIdPartitioner("group"), np.zeros(6, dtype=np.int64), groups=groups
    )
    assert [r.tolist() for r in rows] == [r.tolist() for r in oracle]


def test_another_number_of_clients_than_groups_is_refused():
    line = "num_clients must be 2, the number of natural clients, or 'natural', got 3"
    with pytest.raises(ValueError, match=line):
        Natural().split(np.zeros(4, dtype=np.int64), np.array([0, 0, 1, 1]), 3, 0)


def test_data_without_groups_are_refused():
    with pytest.raises(ValueError, match="this one has none"):
        Natural().split(np.zeros(4, dtype=np.int64), None, 2, 0)
