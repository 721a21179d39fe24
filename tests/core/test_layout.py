"""A model as one vector, and back."""

import pytest
import torch
from torch import nn

from gauntlet.core.layout import Layout, Slot


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 1, bias=False))


def test_parameters_and_floating_buffers_are_counted_apart():
    """By hand: 3*2 + 2, 2 + 2, 2 parameters; running mean and variance of 2; the step counter stays home."""
    layout = Layout.of(net())

    assert (layout.num_parameters, layout.num_buffers) == (14, 4)
    assert [slot.start for slot in layout.parameters] == [0, 6, 8, 10, 12]
    assert [slot.name for slot in layout.buffers] == ["1.running_mean", "1.running_var"]


def test_flatten_and_views_are_inverse():
    model = net()
    layout = Layout.of(model)
    vector = layout.flatten(dict(model.named_parameters()))

    views = layout.views(vector)

    assert all(torch.equal(views[name], p) for name, p in model.named_parameters())


def test_views_share_memory_with_the_vector_and_flatten_does_not():
    layout = Layout.of(nn.Linear(2, 1, bias=False))
    weight = torch.ones(1, 2)
    vector = layout.flatten({"weight": weight})
    layout.views(vector)["weight"][0, 1] = 5

    assert vector.tolist() == [1, 5]
    assert weight.tolist() == [[1, 1]]


def test_a_stack_of_vectors_gives_stacked_parameters():
    layout = Layout.of(nn.Linear(2, 3))

    views = layout.views(torch.arange(18.0).view(2, 9))

    assert views["weight"].shape == (2, 3, 2)
    assert views["bias"][1].tolist() == [15, 16, 17]


def test_frozen_parameters_and_passing_buffers_are_left_out():
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    model.register_buffer("scale", torch.ones(3), persistent=False)

    layout = Layout.of(model)

    assert [slot.name for slot in layout.parameters] == ["weight"]
    assert layout.buffers == ()


def test_tensors_of_any_shape_can_follow_others():
    behind = Layout(()).followed_by(gram=(2, 3), slope=(4,)).followed_by(rest=())
    assert behind.num_parameters == 11
    assert behind.groups == {"gram": slice(0, 6), "slope": slice(6, 10), "rest": slice(10, 11)}
    views = behind.views(torch.arange(11.0))
    assert views["gram"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert float(views["rest"]) == 10
    assert behind.contiguous


@pytest.mark.parametrize(
    "slots",
    [
        (Slot("a", (2,), 0), Slot("b", (2,), 3)),
        (Slot("a", (2,), 1),),
        (Slot("a", (2,), 0), Slot("a", (2,), 2)),
        (Slot("a", (0,), 0),),
        (Slot("a", (2,), 0), Slot("b", (2,), 1)),
    ],
)
def test_gaps_overlaps_and_names_that_come_twice_are_seen(slots):
    assert not Layout(slots).contiguous
