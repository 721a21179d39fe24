"""A model layer by layer, for rules that pass no gradient from one layer to the one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ....core.seeds import generator
from ...models.normalized import Normalized

_NORMS = (nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True, eq=False)
class Stages:
    """The layers of a model in order.

    Attributes:
        before: What inputs go through first: normalisation, flattening.
        layers: Each layer or block with parameters, followed by what has none, or norms.
    """

    before: tuple[nn.Module, ...]
    layers: tuple[tuple[nn.Module, ...], ...]


def stages_of(model: nn.Module, name: str) -> Stages:
    """Return the layers of an ``nn.Sequential``, behind ``Normalized`` or not, or of a single layer.

    Raises:
        ValueError: Another model; ``name`` is who asks.
    """
    net = model.net if isinstance(model, Normalized) else model
    if isinstance(net, nn.Linear):
        net = nn.Sequential(net)
    if type(net) is not nn.Sequential:
        raise ValueError(f"{name} needs an nn.Sequential, such as mlp makes, got a {type(net).__name__}")
    before: list[nn.Module] = [_Scaled(model)] if isinstance(model, Normalized) else []
    layers: list[list[nn.Module]] = []
    for child in net:
        begins = next(child.parameters(), None) is not None and not isinstance(child, _NORMS)
        if begins:
            layers.append([child])
        else:
            (layers[-1] if layers else before).append(child)
    return Stages(tuple(before), tuple(tuple(own) for own in layers))


def through(modules: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Return what modules make of inputs, one after the other."""
    for module in modules:
        x = module(x)
    return x


def scaled(model: nn.Module, x: Tensor) -> Tensor:
    """Return inputs as the model behind ``Normalized`` sees them; of another model as they are."""
    if not isinstance(model, Normalized):
        return x
    shape = (-1, *[1] * (x.ndim - 2))
    return (x - model.mean.view(shape)) / model.std.view(shape)


def fixed_matrix(seed: int, purpose: str, layer: int, rows: int, columns: int) -> Tensor:
    """Return standard normals that follow from a public number and the layer alone.  # [rows, columns]"""
    stream = generator(seed, purpose, layer)
    return torch.from_numpy(stream.standard_normal((rows, columns), dtype=np.float32))


class _Scaled(nn.Module):
    """The normalisation of a model's inputs alone."""

    def __init__(self, model: Normalized) -> None:
        super().__init__()
        self._of = [model]

    def forward(self, x: Tensor) -> Tensor:
        return scaled(self._of[0], x)
