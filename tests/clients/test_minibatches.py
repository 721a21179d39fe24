"""The order in which a client walks through its examples."""

import numpy as np

from gauntlet.clients.minibatches import minibatches
from gauntlet.core.contracts import LocalTraining
from gauntlet.core.seeds import generator


def batches(n: int, **how) -> list[np.ndarray]:
    return minibatches(n, LocalTraining(**how), generator(0, "batches"))


def test_an_epoch_sees_every_example_once_and_the_last_batch_is_the_rest():
    found = batches(10, local_epochs=2, batch_size=4)

    assert [len(b) for b in found] == [4, 4, 2, 4, 4, 2]
    assert sorted(np.concatenate(found[:3])) == list(range(10))
    assert sorted(np.concatenate(found[3:])) == list(range(10))


def test_epochs_are_shuffled_anew():
    found = batches(50, local_epochs=2, batch_size=50 // 2)

    assert not np.array_equal(found[0], found[2])
    assert not np.array_equal(found[0], np.arange(25))


def test_steps_run_over_as_many_epochs_as_they_need():
    assert [len(b) for b in batches(5, local_steps=4, batch_size=3)] == [3, 2, 3, 2]


def test_a_batch_larger_than_the_data_is_all_of_it():
    assert [len(b) for b in batches(3, batch_size=32)] == [3]
    assert [len(b) for b in batches(3, batch_size=0, local_epochs=2)] == [3, 3]
