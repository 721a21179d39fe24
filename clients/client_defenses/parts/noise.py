"""Noise on updates, each client's from its own stream of the round."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from ....core.contracts import BlockVisit

Array = np.ndarray[Any, Any]
Law = Callable[[np.random.Generator, int], Array]
"""From a stream and a number to so many draws of standard deviation 1."""


def gaussian(stream: np.random.Generator, size: int) -> Array:
    """Return draws of N(0, 1).  # [size]"""
    return stream.standard_normal(size)


def laplace(stream: np.random.Generator, size: int) -> Array:
    """Return draws of a Laplace distribution of standard deviation 1: of scale 1 / sqrt(2).  # [size]"""
    return stream.laplace(scale=0.5**0.5, size=size)


def drawn(visit: BlockVisit, update: Tensor, law: Law, std: float = 1.0) -> Tensor:
    """Return noise for each client's update, made in float64 and cast to float32 last.  # [K, P]"""
    rows = [law(visit.stream(row), update.shape[1]) * std for row in range(len(update))]
    return torch.from_numpy(np.stack(rows).astype(np.float32)).to(update.device)
