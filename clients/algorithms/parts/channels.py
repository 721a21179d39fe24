"""Hidden layers by their output channels: which parameters belong to which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ....core.layout import Layout, Slot


def hidden(layout: Layout) -> tuple[Slot, ...]:
    """Return the weights of all layers but the last, in the model's order.

    A weight is a tensor named ``weight`` of two or more dimensions, the first of which counts channels.
    """
    found = [s for s in layout.parameters if len(s.shape) > 1 and s.name.rpartition(".")[2] == "weight"]
    return tuple(found[:-1])


def layer_of(weight: str) -> str:
    """Return the path of the layer that has a weight."""
    return weight.rpartition(".")[0]


def spread(layout: Layout, channels: Mapping[str, Tensor]) -> Tensor:
    """Return each parameter's own channel's number, float32; 1 where it belongs to none of them.  # [P]

    Args:
        layout: The model's parameters.
        channels: By a weight's name, one number a channel.  # [C] each
    """
    found = torch.ones(layout.num_parameters)
    views = layout.views(found)
    for name, values in channels.items():
        views[name].copy_(values.view(-1, *[1] * (views[name].ndim - 1)).expand_as(views[name]))
        if (bias := name.removesuffix("weight") + "bias") in views:
            views[bias].copy_(values)
    return found
