"""How badly updates fit codes that are drawn, or that say signs alone: objectives of leakage attacks.

Source: as ``mismatches``. A coordinate between two levels is rounded to either with a probability that falls
linearly with its distance (DoReFa, QSGD); of signs there is no law, so that a soft threshold stands for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from .buckets import width_of
from .mismatches import LEAST, PROPORTIONS, TINY, sizes_of

if TYPE_CHECKING:
    from ....core.layout import Slot

_SHARPNESS = 4.0  # of the soft threshold between signs, in units of the tensor's root mean square


@dataclass(frozen=True, eq=False)
class LevelMismatch:
    """The mean negative log-likelihood, in nats, of levels that are drawn between two neighbours.

    The scale of a bucket is what the codec makes of the update itself, so that the step size cancels; by how
    much the scales stand in other proportions than the frame's counts besides. Buckets of scale 0 say
    nothing.

    Attributes:
        slots: The tensors, of at least one element each.
        levels: The levels, in units of the step between two, float32.  # [P]
        log_scales: By tensor, the logarithms of its buckets' scales; minus infinity of 0.
        bucket_size: Coordinates that share a scale; None: those of a tensor.
        steps: From 0 to the scale.
        norm: What the scale is: the L2 norm, or the largest size.
    """

    slots: tuple[Slot, ...]
    levels: Tensor
    log_scales: tuple[Tensor, ...]
    bucket_size: int | None
    steps: float
    norm: Literal["l2", "max"]

    scale_free: ClassVar[bool] = True

    def __call__(self, updates: Tensor) -> Tensor:
        total, logs = 0 * updates[..., 0], []
        for slot, sent in zip(self.slots, self.log_scales, strict=True):
            part = self._in_buckets(updates.narrow(-1, slot.start, slot.size))  # [..., buckets, size]
            codes = self._in_buckets(self.levels.narrow(-1, slot.start, slot.size))
            size = sizes_of(part)
            scale = self._scale(part / size)  # [..., buckets, 1]
            far = (part / size / scale * self.steps - codes).abs()
            said = sent.isfinite()  # [buckets]
            total = total + (_surprise(1 - far) * said[:, None]).sum(dim=(-2, -1))
            logs.append((scale.log() + size.log())[..., 0][..., said] - sent[said])
        proportions = torch.cat(logs, dim=-1)  # [..., buckets]
        total = total / max(sum(slot.size for slot in self.slots), 1)
        if proportions.shape[-1] < 2:
            return total
        return total + PROPORTIONS * proportions.var(dim=-1, correction=0)

    def _in_buckets(self, part: Tensor) -> Tensor:
        """Return a tensor's elements [..., n] as buckets, the last one padded with zeros."""
        size = width_of(part.shape[-1], self.bucket_size)
        padded = functional.pad(part, (0, -part.shape[-1] % size))
        return padded.reshape(*part.shape[:-1], -1, size)

    def _scale(self, part: Tensor) -> Tensor:
        """Return the scale of buckets [..., size] whose largest size is 1, so that it is at least 1."""
        norms = part.abs().amax(dim=-1, keepdim=True)
        if self.norm == "l2":
            norms = part.square().sum(dim=-1, keepdim=True).add(TINY).sqrt()
        return norms.clamp(min=0.5)  # also of values below the least that sizes_of gives


def _surprise(probabilities: Tensor) -> Tensor:
    """Return -log of probabilities; below the least by a straight line."""
    straight = math.log(LEAST) + (probabilities - LEAST) / LEAST
    return -probabilities.clamp(LEAST, 1).log().where(probabilities > LEAST, straight)


@dataclass(frozen=True, eq=False)
class SignMismatch:
    """The mean of log(1 + exp(-4 s u / rms(u))) over the signs s, with the rms of each tensor.

    By how much the tensors' mean sizes stand in other proportions than the frame's counts besides.

    Attributes:
        slots: The tensors whose scale is not 0, of at least one element each.
        signs: -1 or 1, float32.  # [P]
        log_sizes: By tensor, the logarithm of its mean size; None where the frame says nothing of it.  # [T]
    """

    slots: tuple[Slot, ...]
    signs: Tensor
    log_sizes: Tensor | None

    scale_free: ClassVar[bool] = True

    def __call__(self, updates: Tensor) -> Tensor:
        total, logs = 0 * updates[..., 0], []
        for slot in self.slots:
            part = updates.narrow(-1, slot.start, slot.size)
            size = sizes_of(part)
            unit = part / size
            scale = unit.square().mean(dim=-1, keepdim=True).add(TINY).sqrt()
            signs = self.signs.narrow(-1, slot.start, slot.size)
            total = total + functional.softplus(-_SHARPNESS * signs * unit / scale).sum(dim=-1)
            logs.append(unit.abs().mean(dim=-1).clamp(min=math.sqrt(TINY)).log() + size[..., 0].log())
        total = total / max(sum(slot.size for slot in self.slots), 1)
        if self.log_sizes is None or len(logs) < 2:
            return total
        proportions = torch.stack(logs, dim=-1) - self.log_sizes  # [..., T]
        return total + PROPORTIONS * proportions.var(dim=-1, correction=0)
