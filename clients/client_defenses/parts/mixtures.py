"""Mixtures of a client's examples."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....core.errors import PluginError

Array = np.ndarray[Any, Any]


def mixed(x: Tensor, y: Tensor, weights: Array, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return mixtures of examples, each with the label of one of them, drawn with its weight.

    The first of a mixture's examples stands in its own place; the others are those that stand there in random
    orders.

    Args:
        x: Floats.  # [B, ...]
        y: Labels.  # [B, ...]
        weights: Of each mixture's k examples, with sum 1.  # [B, k]
        generator: The client's stream of the round.

    Raises:
        PluginError: The examples are tokens.
    """
    if not x.is_floating_point():
        raise PluginError(f"examples are mixed as floats, got {x.dtype}")
    size, k = weights.shape
    orders = np.stack([np.arange(size), *(generator.permutation(size) for _ in range(k - 1))])  # [k, B]
    found = torch.zeros_like(x)
    for order, weight in zip(orders, weights.T, strict=True):
        found += torch.from_numpy(weight).to(x).reshape(-1, *[1] * (x.ndim - 1)) * x[torch.from_numpy(order)]
    drawn = (weights.cumsum(axis=1) < generator.random((size, 1))).sum(axis=1).clip(max=k - 1)  # [B]
    return found, y[torch.from_numpy(orders[drawn, np.arange(size)])]
