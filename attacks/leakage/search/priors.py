"""What is expected of natural inputs, whatever was sent, and the values that they can take."""

import math

import torch
from torch import Tensor


def total_variation(x: Tensor) -> Tensor:
    """Return the anisotropic total variation of inputs [R, B, channels, height, width].  # [R]

    Two means, one of differences along rows and one along columns, added. Other inputs have none: 0.

    Source: Geiping, Bauermeister, Droege, Moeller. Inverting Gradients. NeurIPS 2020, Section 4 and the
    authors' code. arXiv:2003.14053
    """
    if x.ndim != 5:
        return x.new_zeros(len(x))
    across, down = x.diff(dim=4).abs(), x.diff(dim=3).abs()
    return across.flatten(1).mean(dim=1) + down.flatten(1).mean(dim=1)


def annealed(first: float, last: float, share: float) -> float:
    """Return a weight that goes geometrically from ``first`` to ``last`` as ``share`` goes from 0 to 1.

    Where one of them is 0, it goes along a straight line.
    """
    if first > 0 and last > 0:
        return first * math.pow(last / first, share)
    return first + (last - first) * share


def clamp_to(x: Tensor, value_range: tuple[float, float]) -> None:
    """Move inputs into the range of values, in place; an end that is not finite bounds nothing."""
    low, high = value_range
    with torch.no_grad():
        x.clamp_(low if math.isfinite(low) else None, high if math.isfinite(high) else None)
