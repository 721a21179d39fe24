"""A model without some of its layers: those that give back the shape that they are given.

Source: prefixes of a network's stages as clients' models: Chan, Ngai. Internal Cross-layer Gradients for
Extending Homogeneity to Heterogeneity in Federated Learning. ICLR 2024. arXiv:2308.11464; which layers may be
left out of a model that is given is ours.
"""

from collections import OrderedDict
from collections.abc import Sequence, Set
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import nn

from ...core.contracts import Part
from ...core.errors import ScenarioError
from ...core.layout import Layout
from .normalized import Normalized

_NORMS = (nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True)
class Unit:
    """A layer or block with parameters, and what follows it without any, or norms.

    Attributes:
        names: The children of the model's ``nn.Sequential`` that it is made of, in order.
        spare: Whether the model works without it: it gives back the shape that it is given, and is neither
            the first nor the last.
    """

    names: tuple[str, ...]
    spare: bool


def units(model: nn.Module, input_shape: Sequence[int]) -> list[Unit]:
    """Return the units that a model is made of, in order; what precedes the first one is none.

    Args:
        model: An ``nn.Sequential``, behind ``Normalized`` or not.
        input_shape: The shape of one example.

    Raises:
        ScenarioError: Another model.
    """
    net, found, training = _sequence(model), list[tuple[list[str], bool]](), model.training
    x = torch.zeros(2, *input_shape)
    shape, closed = tuple(x.shape), True
    try:
        model.eval()
        with torch.no_grad():
            for name, child in net.named_children():
                if next(child.parameters(), None) is not None and not isinstance(child, _NORMS):
                    found.append(([], False))
                    shape, closed = tuple(x.shape), False
                x = child(x)
                fits = tuple(x.shape) == shape
                closed = closed or (found[-1][1] and not fits)  # what shrinks behind a unit is not its own
                if not closed:
                    found[-1] = ([*found[-1][0], name], fits)
    finally:
        model.train(training)
    last = len(found) - 1
    return [Unit(tuple(own), fits and 0 < n < last) for n, (own, fits) in enumerate(found)]


def without(model: nn.Module, left_out: Set[Unit]) -> Part:
    """Return a copy of a model without some of its spare units, and what it has of the whole one."""
    gone = {name for unit in left_out for name in unit.names}
    net = _sequence(model)
    kept = OrderedDict((name, child) for name, child in net.named_children() if name not in gone)
    path = "net." if net is not model else ""
    there = {
        slot.name: torch.full(slot.shape, slot.name.removeprefix(path).partition(".")[0] not in gone).float()
        for slot in Layout.of(model).parameters
    }
    small: nn.Module = deepcopy(nn.Sequential(kept))
    if isinstance(model, Normalized):
        small = Normalized(small, tuple(model.mean.tolist()), tuple(model.std.tolist()))
    return Part(small.train(model.training), Layout.of(model).flatten(there).bool())


def _sequence(model: nn.Module) -> nn.Sequential:
    net = model.net if isinstance(model, Normalized) else model
    if type(net) is not nn.Sequential:
        raise ScenarioError(
            f"layers can be left out of an nn.Sequential alone, got a {type(net).__name__}; use mlp, or "
            "another model that is one"
        )
    return net
