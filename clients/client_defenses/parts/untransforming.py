"""What an attacker makes of transformed images that it rebuilt, where it knows how they may be transformed.

Source: Balunovic, Dimitrov, Staab, Vechev. Bayesian Framework for Gradient Leakage. ICLR 2022,
arXiv:2111.04706, who attack ATS through what is public of it. The search here is ours.
"""

from collections.abc import Callable, Sequence
from math import cos, pi

import numpy as np
import torch
from torch import Tensor

Transform = Callable[[Tensor, Tensor], Tensor]
"""From images [n, C, H, W] and the number of a way for each [n] to images; it can be differentiated."""

_STEPS, _LR, _SMOOTH = 150, 0.05, 1e-4
_TWICE, _NEAR = 2.0, 1e-4  # ways that leave no more than so many times the least, and this, explain an image
_ROWS = 1024  # images that are searched at once


def untransformed(
    seen: Sequence[Tensor], transform: Transform, ways: int, value_range: tuple[float, float]
) -> tuple[Tensor, float]:
    """Return images and how far what becomes of them is from what was seen, root mean square.

    For every way the smooth image is searched that it takes to what was seen; of the ways that leave least,
    each image has the one whose result fills the range of values best. Images of several rounds are paired by
    their distance, and those of a pair searched once more together, since each may have lost another part.

    Args:
        seen: Transformed images of each round, of the same client's examples in any order.  # [T][B, C, H, W]
        transform: What may have become of an image.
        ways: How many ways there are, of which each image took one.
        value_range: Of inputs.
    """
    rounds = [_chosen(images, transform, ways, value_range) for images in seen]
    first = rounds[-1][0]
    if len(rounds) == 1:
        return first, float(rounds[0][2].mean().sqrt())
    places = [_paired(first, found) for found, _, _ in rounds]
    targets = [images[at] for images, at in zip(seen, places, strict=True)]
    numbers = [way[at] for (_, way, _), at in zip(rounds, places, strict=True)]
    start = torch.stack([found[at] for (found, _, _), at in zip(rounds, places, strict=True)]).mean(dim=0)

    def left(x: Tensor) -> Tensor:
        each = [_error(transform(x, n), t) for n, t in zip(numbers, targets, strict=True)]
        return torch.stack(each).mean(dim=0)

    found = _searched(start, left, value_range)
    return found, float(left(found).mean().sqrt())


def _chosen(
    images: Tensor, transform: Transform, ways: int, value_range: tuple[float, float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each image of a round what it was made of, by which way, and what is left (mean square)."""
    (low, high), count = value_range, len(images)
    found, errors, step = [], [], max(1, _ROWS // count)
    for begin in range(0, ways, step):
        some = torch.arange(begin, min(begin + step, ways))
        numbers, targets = some.repeat_interleave(count), images.repeat(len(some), 1, 1, 1)

        def left(x: Tensor, numbers: Tensor = numbers, targets: Tensor = targets) -> Tensor:
            return _error(transform(x, numbers), targets)

        found.append(_searched(targets, left, value_range))
        errors.append(left(found[-1]))
    x = torch.cat(found).reshape(ways, *images.shape)  # [W, B, C, H, W]
    error = torch.cat(errors).reshape(ways, count)  # [W, B]
    flat = x.flatten(2)
    unfilled = (flat.amin(dim=2) - low).abs() + (flat.amax(dim=2) - high).abs()  # [W, B]
    explains = error <= _TWICE * error.amin(dim=0) + _NEAR
    number = unfilled.where(explains, torch.inf).argmin(dim=0)  # [B]
    rows = torch.arange(count)
    return x[number, rows], number, error[number, rows]


def _searched(start: Tensor, left: Callable[[Tensor], Tensor], value_range: tuple[float, float]) -> Tensor:
    """Return the smooth images within the range of which least is left, by Adam.  # [n, C, H, W]

    Its steps shrink to 0 along half a cosine.
    """
    x = start.detach().clone()
    mean, square = torch.zeros_like(x), torch.zeros_like(x)
    for step in range(_STEPS):
        leaf = x.requires_grad_()
        with torch.enable_grad():
            rough = leaf.diff(dim=3).abs().flatten(1).mean(dim=1) + leaf.diff(dim=2).abs().flatten(1).mean(1)
            (slope,) = torch.autograd.grad((left(leaf) + _SMOOTH * rough).sum(), [leaf])
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope.square()
        size = (square / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8
        rate = _LR * (1 + cos(pi * step / _STEPS)) / 2
        x = (x.detach() - rate * mean / (1 - 0.9 ** (step + 1)) / size).clamp(*value_range)
    return x


def _error(images: Tensor, targets: Tensor) -> Tensor:
    """Return the mean square between images, of each.  # [B]"""
    return (images - targets).square().flatten(1).mean(dim=1)


def _paired(first: Tensor, other: Tensor) -> Tensor:
    """Return which of the other images is which of the first, by least squares of all.  # [B]"""
    from scipy.optimize import linear_sum_assignment

    apart = torch.cdist(first.flatten(1), other.flatten(1)).square()
    _, columns = linear_sum_assignment(np.asarray(apart))
    return torch.from_numpy(columns)
