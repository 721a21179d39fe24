import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from gauntlet.clients.data.base import Dataset, PartitionedData, inputs
from gauntlet.clients.data.federate import dealt
from gauntlet.core.errors import DataError

PILE = Dataset(
    name="tiny",
    x=np.arange(24, dtype=np.uint8).reshape(6, 1, 2, 2),
    y=np.array([0, 1, 2, 0, 1, 2]),
    test_x=np.full((2, 1, 2, 2), 255, dtype=np.uint8),
    test_y=np.array([2, 0]),
    num_classes=3,
)


@pytest.fixture
def data() -> PartitionedData:
    return dealt(PILE, [np.array([0, 3]), np.array([5]), np.array([1, 2, 4])])


def test_pixels_become_fractions_of_255_and_features_stay_as_they_are():
    assert inputs(np.array([0, 51, 255], dtype=np.uint8)).tolist() == pytest.approx([0, 0.2, 1])
    assert inputs(np.array([-3.5, 300], dtype=np.float32)).tolist() == [-3.5, 300]


def test_each_client_gets_its_own_examples(data):
    """By hand: client 2 holds rows 1, 2 and 4; row 1 is the pixels 4, 5, 6, 7."""
    x, y = data.client(2)
    assert x[0].flatten().tolist() == pytest.approx([4 / 255, 5 / 255, 6 / 255, 7 / 255])
    assert y.tolist() == [1, 2, 1]
    assert [data.num_examples(i) for i in range(data.num_clients)] == [2, 1, 3]
    assert data.input_shape == (1, 2, 2)


def test_labels_are_counted_by_client_and_class(data):
    assert data.label_counts().tolist() == [[2, 0, 0], [0, 0, 1], [0, 2, 1]]


def test_what_is_handed_out_can_be_changed_without_changing_the_data(data):
    for x, y in (data.client(0), data.test()):
        x.zero_()
        y.zero_()
    assert data.client(0)[0].sum() > 0
    assert data.test()[1].tolist() == [2, 0]


@pytest.mark.parametrize("client_id", [-1, 3])
def test_a_client_that_does_not_exist_is_refused(data, client_id):
    with pytest.raises(ValueError, match=r"client_id must be in \[0, 2\], got"):
        data.client(client_id)
    with pytest.raises(ValueError, match=r"client_id must be in \[0, 2\], got"):
        data.num_examples(client_id)


def test_processes_can_share_the_arrays_read_only():
    """Pickle protocol 5: all arrays leave as buffers, and come back read-only without a complaint."""
    many, few = np.zeros((5000, 1, 8, 8), dtype=np.uint8), np.ones((10, 1, 8, 8), dtype=np.uint8)
    labels = np.zeros(5000, dtype=np.int64)
    pile = replace(PILE, x=many, y=labels, test_x=few, test_y=labels[:10])
    buffers: list[pickle.PickleBuffer] = []
    shared = pickle.dumps(
        dealt(pile, [np.arange(5000)]), protocol=5, buffer_callback=lambda b: buffers.append(b)
    )
    assert len(shared) < 2000
    copy = pickle.loads(shared, buffers=[bytes(b.raw()) for b in buffers])
    assert not copy.x.flags.writeable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x, _ = copy.client(0)
        test_x, test_y = copy.test()
        for tensor in (x, test_x, test_y):
            tensor.add_(1)
    assert copy.test()[0].max() == torch.tensor(1 / 255)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.array([0, 1])}, "6 training inputs with 2 labels"),
        ({"test_y": np.zeros(0, dtype=np.int64)}, "2 test inputs with 0 labels"),
        ({"y": np.array([0, 1, 2, 3, 0, 0])}, r"labels must be int64 in \[0, 2\], got int64 in \[0, 3\]"),
        ({"y": np.array([0.0, 1, 2, 0, 0, 0])}, r"labels must be int64 in \[0, 2\], got float64"),
        ({"x": np.zeros((6, 1, 2, 2))}, "must be uint8 or float32, got float64"),
        ({"x": np.full((6, 1, 2, 2), np.nan, dtype=np.float32)}, "training inputs hold NaN or infinity"),
        ({"test_x": np.zeros((2, 1, 3, 3), dtype=np.uint8)}, r"test inputs \(1, 3, 3\)"),
        ({"mean": (0.5, 0.5), "std": (0.5, 0.5)}, "each of 1 channels or none, got 2 and 2"),
        ({"groups": np.arange(5)}, "5 groups for 6 training examples"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        replace(PILE, **change)
