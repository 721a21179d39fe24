"""The order in which a client walks through its examples."""

import numpy as np
import pytest

from gauntlet.clients.training.minibatches import gathered, minibatches, shuffled_batches, step_sampling
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


@pytest.mark.parametrize(("kept", "steps"), [(30, 20), (30, 5), (1, 7), (100, 20), (99, 1)])
def test_no_example_is_in_more_private_passes_than_are_charged(kept, steps):
    """100 examples in batches of 10: 20 steps are 2 passes; of 30 that are left, 2 passes are 6 steps."""
    training = LocalTraining(local_steps=steps, batch_size=10)
    batches = shuffled_batches(kept, 100, training, generator(0, "batches"))
    charged = step_sampling(100, training, poisson=False).draws
    assert np.bincount(np.concatenate(batches), minlength=kept).max() <= charged
    assert len(batches) == min(steps, charged * -(-kept // min(10, kept)))


def test_a_client_that_kept_everything_takes_all_its_steps():
    training = LocalTraining(local_steps=23, batch_size=10)
    mine = shuffled_batches(100, 100, training, generator(0, "batches"))
    plain = minibatches(100, training, generator(0, "batches"))
    assert all(np.array_equal(a, b) for a, b in zip(mine, plain, strict=True))


def test_rows_are_gathered_once_in_the_order_in_which_steps_take_them():
    """By hand; and those of any steps are the steps' own rows."""
    rows, steps = gathered([np.array([7, 2]), np.array([5, 7, 2])])
    assert rows.tolist() == [7, 2, 5]
    assert [step.tolist() for step in steps] == [[0, 1], [2, 0, 1]]

    for how in (
        {"local_epochs": 3, "batch_size": 4},
        {"local_steps": 1, "batch_size": 3},
        {"local_epochs": 2},
    ):
        whole = batches(10, **how)
        rows, steps = gathered(whole)
        assert len(set(rows.tolist())) == len(rows)
        assert all(np.array_equal(rows[step], batch) for step, batch in zip(steps, whole, strict=True))
