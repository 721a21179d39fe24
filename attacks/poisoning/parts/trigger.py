"""Pixel triggers: a few pixels of an image set to one value.

Inputs are pixels in [0, 1] and the model normalises them later, so a trigger looks the same to every model.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ....core.contracts import Goal

Pixel = tuple[int, int]
"""(row, column) from the top left; negative ones count from the bottom and from the right."""


def stamp(x: Tensor, pixels: Sequence[Pixel], value: float) -> Tensor:
    """Return images [n, channels, H, W] with ``pixels`` set to ``value`` in every channel.

    Raises:
        ValueError: No images, or a pixel outside of them.
    """
    if x.ndim != 4:
        raise ValueError(f"a pixel trigger needs images [n, channels, H, W], got shape {tuple(x.shape)}")
    height, width = x.shape[-2:]
    for row, column in pixels:
        if not (-height <= row < height and -width <= column < width):
            raise ValueError(f"trigger pixel ({row}, {column}) is outside images of {height} x {width}")
    rows, columns = torch.tensor(pixels, dtype=torch.int64).reshape(-1, 2).unbind(dim=1)
    stamped = x.clone()
    stamped[:, :, rows, columns] = value
    return stamped


def teach(
    x: Tensor, y: Tensor, stamped: Tensor, target: int, fraction: float, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return (x, y) with ``fraction`` of the examples, at least one, stamped and labelled ``target``."""
    count = min(len(y), max(1, round(fraction * len(y))))
    chosen = torch.from_numpy(generator.choice(len(y), count, replace=False))
    new_x, new_y = x.clone(), y.clone()
    new_x[chosen], new_y[chosen] = stamped[chosen], target
    return new_x, new_y


def triggered(y: Tensor, stamped: Tensor, target: int) -> Goal:
    """Return every stamped example whose true label is not the target: those would count for nothing."""
    rows = y != target
    return Goal(stamped[rows], y[rows], torch.full_like(y[rows], target))


def check_trigger(target: int, fraction: float, value: float) -> None:
    """Raise ``ValueError`` unless a backdoor's options are in range."""
    if target < 0:
        raise ValueError(f"target must be a class from 0, got {target}")
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must be above 0 and at most 1, got {fraction}")
    if not 0 <= value <= 1:
        raise ValueError(f"value must be a pixel between 0 and 1, got {value}")
