"""What each client keeps out of training for its own scores."""

import numpy as np
import pytest

from gauntlet.clients.data import DATASETS, PARTITIONS, federate
from gauntlet.core.errors import ScenarioError


def dealt(held_out=0.0, num_clients=9, seed=3, **options):
    dataset, partition = DATASETS.build("digits", {}), PARTITIONS.build("dirichlet", {"alpha": 0.3})
    return federate(dataset, partition, num_clients, seed, held_out=held_out, **options)


def test_it_is_a_share_of_each_clients_examples_rounded_down_and_the_rest_is_trained_on():
    whole, cut = dealt(), dealt(0.3)
    assert whole.held_out is None
    for client in range(9):
        own, kept, out = whole.rows(client), cut.rows(client), cut.held_out.rows(client)
        assert len(out) == len(own) * 3 // 10
        assert np.array_equal(np.sort(np.concatenate([kept, out])), own)
        assert (np.diff(kept) > 0).all()
        assert len(cut.held_out.client(client)[1]) == len(out) == cut.held_out.num_examples(client)
    assert np.array_equal(cut.label_counts() + cut.held_out.label_counts(), whole.label_counts())


def test_a_share_that_is_a_whole_number_of_examples_is_that_many():
    """Seven tenths of 90 examples are 63, though 0.7 * 90 is a little less in floating point."""
    data = federate(DATASETS.build("digits", {}), PARTITIONS.build("iid", {}), 16, 0, held_out=0.7)
    assert 0.7 * 90 < 63
    assert (data.num_examples(0), data.held_out.num_examples(0)) == (27, 63)


def test_it_is_drawn_anew_with_another_seed_and_not_with_another_share():
    """A larger share holds out what a smaller one does, and more."""
    first, more, other = dealt(0.2), dealt(0.5), dealt(0.2, seed=4)
    for client in range(9):
        assert set(first.held_out.rows(client)) <= set(more.held_out.rows(client))
    assert not np.array_equal(first.held_out.order, other.held_out.order)


def test_every_client_keeps_something_to_train_on():
    """Single examples are never held out, however large the share."""
    data = dealt(0.999999)
    assert min(data.num_examples(i) for i in range(9)) == 1
    few = federate(DATASETS.build("digits", {}), PARTITIONS.build("iid", {}), 1000, 0, held_out=0.9)
    counts = [(few.num_examples(i), few.held_out.num_examples(i)) for i in range(1000)]
    assert set(counts) == {(1, 0), (1, 1)}


def test_the_servers_own_examples_are_apart():
    data = dealt(0.2, root_examples=50)
    mine = {x.tobytes() for x in data.root.client(9)[0].numpy()}
    assert len(data.root.client(9)[1]) == 50
    held = {x.tobytes() for i in range(9) for x in data.held_out.client(i)[0].numpy()}
    assert len(mine & held) == 0


def test_data_that_are_born_with_their_clients_are_refused():
    with pytest.raises(ScenarioError, match="held_out must be 0 for a dataset that makes its own clients"):
        federate(DATASETS.build("gaussian_shards", {}), None, 3, 0, held_out=0.1)
