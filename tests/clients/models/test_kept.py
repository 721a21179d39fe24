"""Models of which clients keep a part: layouts, and the whole model that a client trains."""

from copy import deepcopy

import pytest
import torch
from kept_models import Normed
from torch import nn

from gauntlet.clients.exchange.kept import Halves
from gauntlet.clients.models.kept import keep_back, kept_layout, kept_names, whole_of
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout

KEPT = ("2.weight", "2.bias", "2.running_mean", "2.running_var")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Normed().build((4,), 3)


def test_what_is_kept_is_in_no_layout_and_not_trained(model):
    whole = Layout.of(model)
    keep_back(model, KEPT, "somebody")
    found = Layout.of(model)

    assert [slot.name for slot in found.parameters] == ["1.weight", "1.bias", "4.weight", "4.bias"]
    assert found.num_buffers == 0
    assert found.num_parameters == whole.num_parameters - 12
    assert not model[2].weight.requires_grad
    assert model.state_dict().keys() == Normed().build((4,), 3).state_dict().keys()
    assert [(s.name, s.shape) for s in kept_layout(model).parameters] == [(name, (6,)) for name in KEPT]


def test_a_copy_keeps_it_and_the_whole_one_does_not(model):
    whole = Layout.of(model)
    keep_back(model, KEPT, "somebody")

    assert kept_names(deepcopy(model)) == KEPT
    assert Layout.of(whole_of(model)) == whole
    assert kept_names(whole_of(model)) == ()
    assert all(p.requires_grad for p in whole_of(model).parameters())


def test_buffers_alone_may_be_kept(model):
    keep_back(model, KEPT[2:], "somebody")
    assert Layout.of(model).num_parameters == Layout.of(whole_of(model)).num_parameters
    assert model[2].weight.requires_grad


def test_nothing_kept_is_the_model_as_it_is(model):
    before = Layout.of(model)
    assert Layout.of(keep_back(model, (), "somebody")) == before
    assert kept_names(model) == ()


def test_halves_come_apart_and_together_again(model):
    """1.weight 24, 1.bias 6, then the kept 12, then 4.weight 18 and 4.bias 3; both buffers are kept."""
    keep_back(model, KEPT, "somebody")
    halves = Halves.of(model)
    params, buffers = torch.arange(63.0), torch.arange(100.0, 112.0)
    shared, rest, own = halves.parted(params, buffers)

    assert shared.tolist() == [*range(30), *range(42, 63)]
    assert (len(rest), own.tolist()) == (0, [*range(30, 42), *range(100, 112)])
    again = halves.joined(shared, rest, own)
    assert torch.equal(again[0], params)
    assert torch.equal(again[1], buffers)


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (None, "somebody: keeps must return a list or tuple of names, got None"),
        (([],), r"keeps must return a list or tuple of names, got \(\[\],\)"),
        (("2.running_sum",), "somebody: keeps must name trainable parameters and floating buffers of the"),
        (("2.num_batches_tracked",), "got '2.num_batches_tracked'; allowed: 1.bias, 1.weight"),
        (("1.weight", "1.bias", "2.weight", "2.bias", "4.weight", "4.bias"), "somebody would keep every"),
    ],
)
def test_what_cannot_be_kept_is_refused(model, names, line):
    with pytest.raises(PluginError, match=line):
        keep_back(model, names, "somebody")


def test_a_frozen_parameter_is_nobodys(model):
    model[1].requires_grad_(False)
    with pytest.raises(PluginError, match=r"got '1\.weight'"):
        keep_back(model, ("1.weight",), "somebody")
    keep_back(model, KEPT, "somebody")
    assert not whole_of(model)[1].weight.requires_grad
    assert isinstance(model[1], nn.Linear)
