"""Max-pooling by slices in a model as it is written gives torch's values, and leaves the rest to torch."""

import pytest
import torch
from torch import nn

from gauntlet.clients.tracing import eager_pooling
from gauntlet.clients.tracing.eager_pooling import PoolingBySlices

F = nn.functional


@pytest.fixture
def taken(monkeypatch):
    """The windows that were pooled by slices."""
    seen, greatest = [], eager_pooling.greatest

    def noted(x, window):
        seen.append(window)
        return greatest(x, window)

    monkeypatch.setattr(eager_pooling, "greatest", noted)
    return seen


def drawn(*shape, last=False):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return x.to(memory_format=torch.channels_last) if last else x


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("window", [2, 3, (2, 3), [3, 1], (7, 8)])
@pytest.mark.parametrize(
    "way",
    [F.max_pool2d, torch.max_pool2d, lambda x, window: nn.MaxPool2d(window)(x)],
    ids=["F", "torch", "layer"],
)
def test_windows_side_by_side_are_pooled_as_torch_pools_them(way, window, last, taken):
    """Edges that no whole window covers are left out; values and layout in memory are torch's."""
    x = drawn(4, 3, 7, 8, last=last)
    expected = way(x, window)
    with PoolingBySlices():
        found = way(x, window)

    assert len(taken) == 1
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last) == last or found.shape[-2:] == (1, 1)


def test_nan_is_greatest_as_in_torch():
    x = drawn(1, 1, 4, 4)
    x[0, 0, 1, 1] = float("nan")
    x[0, 0, 2, 2] = float("-inf")
    with PoolingBySlices():
        found = F.max_pool2d(x, 2)

    assert torch.equal(found.isnan(), F.max_pool2d(x, 2).isnan())
    assert torch.equal(found.nan_to_num(), F.max_pool2d(x, 2).nan_to_num())


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 1},
        {"stride": 3},
        {"padding": 1},
        {"dilation": 2},
        {"ceil_mode": True},
        {"return_indices": True},
    ],
    ids=str,
)
def test_other_poolings_are_left_to_torch(options, taken):
    x = drawn(2, 3, 7, 8)
    expected = F.max_pool2d(x, 2, **options)
    with PoolingBySlices():
        found = F.max_pool2d(x, 2, **options)
    pairs = zip(found, expected, strict=True) if options == {"return_indices": True} else [(found, expected)]

    assert taken == []
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_pooling_that_torch_refuses_is_refused_in_its_words():
    with PoolingBySlices(), pytest.raises(RuntimeError, match="Output size is too small"):
        F.max_pool2d(drawn(1, 1, 2, 2), 3)


def test_gradients_are_left_to_torch(taken):
    x = drawn(1, 1, 4, 4).requires_grad_()
    with PoolingBySlices():
        F.max_pool2d(x, 2).sum().backward()

    assert taken == []
    assert float(x.grad.sum()) == 4.0
