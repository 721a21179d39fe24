"""How badly updates fit a frame: the objectives of leakage attacks that know of the codec.

Source: the attacker that knows how a message came about makes its probability large: Balunovic, Dimitrov,
Staab, Vechev. Bayesian Framework for Gradient Leakage. ICLR 2022. arXiv:2111.04706. The laws are those of
the codecs; that updates are brought to the frame's scale first, so that it need not be known, is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from ....core.layout import Slot
    from .packing import Array

TINY = 1e-12  # keeps 0 / 0 away, beside squares of numbers of which the largest is 1
LEAST = 1e-3  # probabilities below are continued by a straight line, so that a wrong sign has a slope, too
PROPORTIONS = 0.1  # what the variance of the logarithms of the scales' proportions counts


def half_cells(values: Array) -> tuple[Tensor, Tensor]:
    """Return how far below and above float16 values, as float32, lie the values that are rounded to them.

    At +-65504, where values are cut off, that is infinitely far on one side.
    """
    halves = values.astype(np.float16)
    with np.errstate(over="ignore"):
        less, more = (np.nextafter(halves, np.float16(end)).astype(np.float32) for end in (-np.inf, np.inf))
    return torch.from_numpy((values - less) / 2), torch.from_numpy((more - values) / 2)


def sizes_of(updates: Tensor) -> Tensor:
    """Return the largest size in each of some updates [..., n], at least 1e-30, as a constant.  # [..., 1]

    What is no other for an update times any number has the same slope, if it is divided by this first.
    """
    return updates.detach().abs().amax(dim=-1, keepdim=True).clamp(min=1e-30)


@dataclass(frozen=True, eq=False)
class CellMismatch:
    """Half the squared distance to the nearest update that a deterministic codec sends as it did.

    An update is first brought to the length that the decoded one has where that is not 0. So of a tensor that
    is sent as it is the distance is 1 - cos: least, 0, at the update itself.

    Attributes:
        decoded: What the frame decodes to, divided by its length; zeros where that is 0, float32.  # [P]
        low, high: What was encoded lies between, in the same units; infinite where it may be anything.  # [P]
    """

    decoded: Tensor
    low: Tensor
    high: Tensor

    scale_free: ClassVar[bool] = True

    @classmethod
    def of(cls, decoded: Tensor, below: Tensor, above: Tensor) -> CellMismatch:
        """Return the mismatch of a frame.

        Args:
            decoded: What it decodes to, finite.  # [P]
            below, above: How far below and above that an encoded value may have been, at least 0.  # [P]
        """
        wide = decoded.double()
        length = float(wide.norm()) or 1.0
        low, high = (wide - below.double()) / length, (wide + above.double()) / length
        return cls((wide / length).float(), low.float(), high.float())

    def __call__(self, updates: Tensor) -> Tensor:
        sent = self.decoded != 0
        updates = updates / sizes_of(updates)
        length = (updates * sent).square().sum(dim=-1, keepdim=True).add(TINY).sqrt()
        scaled = updates / length * bool(sent.any())
        return (scaled - scaled.clamp(self.low, self.high)).square().sum(dim=-1) / 2


@dataclass(frozen=True, eq=False)
class TernaryMismatch:
    """The mean negative log-likelihood, in nats, of codes -1, 0 and 1 that are drawn with |u| / s.

    s of each tensor is what the codec makes of the update itself, so that the step size cancels. By how much
    the tensors' scales stand in other proportions than the frame's counts besides. A tensor of scale 0, or
    of 0 elements, says nothing.

    Attributes:
        slots: The tensors that were sent in codes, those of scale 0 left out.
        codes: -1, 0 or 1 where they stand, float32.  # [P]
        log_scales: The logarithm of s of each of ``slots``.  # [T]
        exact: Of the tensors that were sent as they are; None where there are none.
        clip: The bound on a coordinate, in units of ``sd``; 0: none.
        centred: Whether ``sd`` is about the mean, or about zero.
        bounded: Whether s is that bound, and else the largest clipped size.
        known: Whether s does not follow from the update: then it is that of ``log_scales``, and the size of
            an update counts.
    """

    slots: tuple[Slot, ...]
    codes: Tensor
    log_scales: Tensor
    exact: CellMismatch | None
    clip: float
    centred: bool
    bounded: bool
    known: bool = False

    @property
    def scale_free(self) -> bool:
        return not self.known

    def __call__(self, updates: Tensor) -> Tensor:
        total = 0 * updates[..., 0]
        logs = []
        for slot, sent in zip(self.slots, self.log_scales, strict=True):
            part = updates.narrow(-1, slot.start, slot.size)
            size = sizes_of(part)
            scale = self._scale(part / size) if not self.known else sent.exp() / size  # [..., 1]
            codes = self.codes.narrow(-1, slot.start, slot.size)
            total = total + _surprise(part / size / scale, codes).sum(dim=-1)
            logs.append(scale.log() + size.log())
        if logs:
            total = total / sum(slot.size for slot in self.slots)
            proportions = torch.cat(logs, dim=-1) - self.log_scales  # [..., T]
            total = total + PROPORTIONS * proportions.var(dim=-1, correction=0)
        return total if self.exact is None else total + self.exact(updates)

    def _scale(self, part: Tensor) -> Tensor:
        """Return s of each update's tensor [..., n], whose largest size is 1; above 0.  # [..., 1]"""
        largest = part.abs().amax(dim=-1, keepdim=True)
        if self.clip > 0:
            about = part - part.mean(dim=-1, keepdim=True) if self.centred else part
            bound = self.clip * about.square().mean(dim=-1, keepdim=True).add(TINY).sqrt()
            largest = bound if self.bounded else torch.minimum(largest, bound)
        return largest.clamp(min=math.sqrt(TINY))


def _surprise(ratios: Tensor, codes: Tensor) -> Tensor:
    """Return -log of the probability of each code, of values u / s [..., n]."""
    signed, least = ratios * codes, math.log(LEAST)
    drawn = signed.clamp(LEAST, 1).log().where(signed > LEAST, least + (signed - LEAST) / LEAST)
    left = (1 - ratios.abs()).clamp(min=LEAST).log()
    return -drawn.where(codes != 0, left)
