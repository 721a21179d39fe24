"""How badly updates fit a frame of chunks that were rotated, brought to length 1 and then quantised.

Source: as ``mismatches``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from .mismatches import PROPORTIONS, TINY, sizes_of


@dataclass(frozen=True, eq=False)
class Chunk:
    """What a frame says of one chunk whose scale is not 0.

    Attributes:
        start, size: Where its elements lie; they are padded with zeros to d, a power of two.
        signs: What they are multiplied by before the rotation, float32.  # [d]
        levels: What its codes stand for, of coordinates whose mean square is 1, float32.  # [d]
        low, high: Between which values a coordinate has its code; infinite at the ends.  # [d]
        log_scale: The logarithm of its scale.
    """

    start: int
    size: int
    signs: Tensor
    levels: Tensor
    low: Tensor
    high: Tensor
    log_scale: float


@dataclass(frozen=True, eq=False)
class RotatedMismatch:
    """The mean squared distance of rotated coordinates from the cells of their codes, each chunk at length 1.

    By how much the chunks' scales stand in other proportions than the frame's counts besides: an update's own
    are made of its length and of how far it goes along the frame's levels.

    Attributes:
        chunks: Those whose scale is not 0.
        unbiased: Whether a scale is length over that part, and else length times it.
    """

    chunks: tuple[Chunk, ...]
    unbiased: bool

    scale_free: ClassVar[bool] = True

    def __call__(self, updates: Tensor) -> Tensor:
        total, logs = 0 * updates[..., 0], []
        for chunk in self.chunks:
            part = updates.narrow(-1, chunk.start, chunk.size)
            size, width = sizes_of(part), len(chunk.signs)
            turned = _hadamard(functional.pad(part / size, (0, width - chunk.size)) * chunk.signs)
            norm = turned.square().sum(dim=-1, keepdim=True).add(TINY).sqrt()
            unit = turned / norm * math.sqrt(width)
            total = total + (unit - unit.clamp(chunk.low, chunk.high)).square().sum(dim=-1)
            power = chunk.levels.square().mean()
            along = ((unit * chunk.levels).mean(dim=-1) / power).clamp(min=0.1).log()
            factor = -along - power.log() if self.unbiased else along
            logs.append((norm.log() + size.log())[..., 0] + factor - math.log(width) / 2 - chunk.log_scale)
        total = total / max(sum(len(chunk.signs) for chunk in self.chunks), 1)
        if len(logs) < 2:
            return total
        return total + PROPORTIONS * torch.stack(logs, dim=-1).var(dim=-1, correction=0)


def _hadamard(x: Tensor) -> Tensor:
    """Return ``rotation.hadamard`` with a gradient.  # [..., d]"""
    size, out, width = x.shape[-1], x, 1
    while width < size:
        pairs = out.reshape(*x.shape[:-1], size // (2 * width), 2, width)
        left, right = pairs.unbind(dim=-2)
        out = torch.stack([left + right, left - right], dim=-2)
        width *= 2
    return out.reshape(x.shape) / math.sqrt(size)
