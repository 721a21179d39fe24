import copy
import pickle

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

from gauntlet.clients.models import Normalized
from gauntlet.core.layout import Layout


def test_each_channel_loses_its_mean_and_is_divided_by_its_deviation():
    """By hand."""
    model = Normalized(nn.Identity(), (0.5, 0.0), (0.25, 2.0))
    x = torch.tensor([[[[1.0, 0.5]], [[1.0, 4.0]]]])  # [1, 2, 1, 2]
    assert model(x).tolist() == [[[[2.0, 0.0]], [[0.5, 2.0]]]]
    flat = Normalized(nn.Identity(), (1.0, 2.0, 3.0), (1.0, 1.0, 2.0))
    assert flat(torch.ones(1, 3)).tolist() == [[0.0, -1.0, -1.0]]


def test_the_layout_does_not_see_it_and_calls_with_stacked_parameters_do():
    net = nn.Linear(2, 3)
    model = Normalized(net, (0.5, 0.0), (0.25, 2.0))
    layout = Layout.of(model)
    assert (layout.num_parameters, layout.num_buffers) == (9, 0)
    vectors = torch.rand(4, 9)
    x = torch.rand(4, 5, 2)
    stacked = vmap(lambda p, xs: functional_call(model, p, (xs,)))(layout.views(vectors), x)
    for i in range(4):
        weight, bias = vectors[i, :6].view(3, 2), vectors[i, 6:]
        by_hand = (x[i] - torch.tensor([0.5, 0.0])) / torch.tensor([0.25, 2.0]) @ weight.T + bias
        torch.testing.assert_close(stacked[i], by_hand)


def test_copies_and_pickles_keep_it():
    model = Normalized(nn.Flatten(), (0.5,), (0.25,))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin(torch.ones(1, 1)).tolist() == [[2.0]]


@pytest.mark.parametrize(("mean", "std"), [((0.5,), ()), ((), ()), ((0.5,), (0.0,))])
def test_what_cannot_normalise_is_refused(mean, std):
    with pytest.raises(ValueError, match="std above 0"):
        Normalized(nn.Identity(), mean, std)
