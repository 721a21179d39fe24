"""How badly updates fit a frame that names the largest coordinates and their signs: for leakage attacks.

Source: as ``mismatches``. That positions are compared with the update's own ranking is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from .mismatches import PROPORTIONS, TINY, sizes_of

if TYPE_CHECKING:
    from ....core.layout import Slot


@dataclass(frozen=True, eq=False)
class LargestMismatch:
    """How far an update's coordinates are from being ranked as the frame ranks them.

    Of the k coordinates of a tensor that are named, each should be beyond the tensor's own threshold, on the
    side of its sign, and none of the others: the threshold lies half-way between the k-th and the next of the
    update's sizes, and counts as a constant. The squares of what is missing, in units of the threshold, are
    added up and divided by the number of all that are named. By how much the tensors' mean named sizes stand
    in other proportions than the frame's counts besides.

    Attributes:
        slots: The tensors of which something is named.
        signs: -1 or 1 where a coordinate is named, else 0, float32.  # [P]
        log_means: By tensor, the logarithm of the mean size that the frame states.  # [T]
    """

    slots: tuple[Slot, ...]
    signs: Tensor
    log_means: Tensor

    scale_free: ClassVar[bool] = True

    def __call__(self, updates: Tensor) -> Tensor:
        total, logs = 0 * updates[..., 0], []
        for slot in self.slots:
            part = updates.narrow(-1, slot.start, slot.size)
            size = sizes_of(part)
            unit, signs = part / size, self.signs.narrow(0, slot.start, slot.size)
            named = signs != 0
            k = int(named.sum())
            threshold = _threshold(unit, k)  # [..., 1]
            missing = torch.where(named, threshold - signs * unit, unit.abs() - threshold).clamp(min=0)
            total = total + (missing / threshold).square().sum(dim=-1)
            mean = (signs * unit).sum(dim=-1, keepdim=True) / k
            logs.append((mean.maximum(1e-3 * threshold).log() + size.log())[..., 0])
        if not logs:
            return total
        total = total / int(self.signs.count_nonzero())
        proportions = torch.stack(logs, dim=-1) - self.log_means  # [..., T]
        return total + PROPORTIONS * proportions.var(dim=-1, correction=0)


def _threshold(unit: Tensor, k: int) -> Tensor:
    """Return what lies half-way between the k-th and the next of sizes [..., n], above 0.  # [..., 1]"""
    largest = unit.detach().abs().topk(min(k + 1, unit.shape[-1]), dim=-1).values
    return ((largest[..., k - 1 : k] + largest[..., -1:]) / 2).clamp(min=math.sqrt(TINY))
