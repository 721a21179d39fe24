"""Frozen layers: what is frozen is no part of the message."""

import pytest
import torch

from gauntlet.clients.client_defenses.frozen_layers import FrozenLayers
from gauntlet.core.errors import PluginError
from gauntlet.core.layout import Layout


def test_the_first_layer_is_no_part_of_the_layout(net):
    weights = net[1].weight.detach().clone()
    frozen = FrozenLayers().wrap(net)
    assert [slot.name for slot in Layout.of(frozen).parameters] == ["3.weight", "3.bias"]
    assert torch.equal(frozen[1].weight, weights)


def test_other_layers_are_named(net):
    frozen = FrozenLayers(layers=("3",)).wrap(net)
    assert [slot.name for slot in Layout.of(frozen).parameters] == ["1.weight", "1.bias"]


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (("2",), "finds no parameters at '2'; layers: 1, 3"),
        (("head",), "no parameters at 'head'"),
        (("1", "3"), "nothing to train"),
    ],
)
def test_what_cannot_be_frozen_is_refused(net, layers, words):
    with pytest.raises(PluginError, match=words):
        FrozenLayers(layers=layers).wrap(net)
