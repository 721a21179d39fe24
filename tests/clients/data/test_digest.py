"""The hash of the examples: the same for the same, another for whatever a client or the test set holds."""

from dataclasses import replace

import numpy as np
import pytest

from gauntlet.clients.data import DATASETS, PARTITIONS, federate
from gauntlet.clients.data.digest import digest


@pytest.fixture(scope="module")
def digits():
    return federate(DATASETS.build("digits"), PARTITIONS.build("iid"), 5, 0, root_examples=10)


def changed(array):
    other = array.copy()
    other.flat[-1] += 1
    return other


def test_equal_examples_have_equal_hashes_however_they_are_dealt_out(digits):
    again = federate(DATASETS.build("digits"), PARTITIONS.build("iid"), 5, 0, root_examples=10)
    assert digest(again) == digest(digits)
    assert digest(replace(digits, order=digits.order[::-1])) == digest(digits)


@pytest.mark.parametrize("name", ["x", "y", "test_x", "test_y"])
def test_one_value_that_differs_gives_another_hash(digits, name):
    assert digest(replace(digits, **{name: changed(getattr(digits, name))})) != digest(digits)


def test_the_servers_own_examples_count_and_shapes_do(digits):
    assert digest(replace(digits, root=replace(digits.root, x=changed(digits.root.x)))) != digest(digits)
    assert digest(replace(digits, x=digits.x.reshape(len(digits.x), -1))) != digest(digits)
    assert digest(replace(digits, x=digits.x.astype(np.float64))) != digest(digits)


def test_training_inputs_that_a_mechanism_noised_do_not_count(digits):
    assert digest(replace(digits, x=changed(digits.x)), noised=True) == digest(digits, noised=True)


def test_data_that_are_born_with_their_clients_are_told_apart_by_some_clients_and_the_test_set():
    first, again, other = (DATASETS.build("synthetic").populate(1000, seed) for seed in (0, 0, 1))
    assert digest(first) == digest(again)
    assert digest(first) != digest(other)
