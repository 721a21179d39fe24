"""Adaptive clipping: C follows a quantile of the updates' norms, by a noised count.

Source: Andrew, Thakkar, McMahan, Ramaswamy. Differentially Private Learning with Adaptive Clipping. NeurIPS
2021, Algorithm 1 and Section 2.2. arXiv:1905.03871
"""

from dataclasses import dataclass
from math import exp
from typing import ClassVar

from torch import Tensor

from ...core.contracts import PublicFacts
from ...core.updates import Updates
from .parts import scale_rows
from .steps import check_step, within


@dataclass(frozen=True)
class Quantile:
    """Clip to C, then C <- C exp(-lr (b - gamma)), b being the noised share of updates that fitted under C.

    C starts at the mechanism's ``clip_norm`` and settles where a share gamma of the updates is not clipped.
    It is public. From afar it needs patience: it grows by at most exp(lr (1 - gamma)) a round, 10 % by
    default, so 24 rounds for a factor of 10; within a short run the start still matters.

    Attributes:
        target_unclipped: The share of updates that should fit under C (the paper's gamma), between 0 and 1.
            0.5 clips at the median norm.
        clip_lr: Step size (the paper's eta_C), above 0.
        geometric: Whether C moves by factors, as above; otherwise by C <- C - lr (b - gamma).
        count_noise_std: Standard deviation of the noise on the count of updates that fit (the paper's
            sigma_b), in clients. By default the larger of m / 20 and z: the paper's m / 20 is impossible
            for small cohorts (it must exceed z / 2), and with z or more the model's noise grows by at most
            15 %. 0 adds none, and proves nothing.
        clip_min: Least C, above 0.
        clip_max: Greatest C.
    """

    target_unclipped: float = 0.5
    clip_lr: float = 0.2
    geometric: bool = True
    count_noise_std: float | None = None
    clip_min: float = 1e-6
    clip_max: float = 1e6

    adaptive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.target_unclipped <= 1:
            raise ValueError(f"target_unclipped must be between 0 and 1, got {self.target_unclipped}")
        check_step(self.clip_lr, self.count_noise_std, self.clip_min, self.clip_max)

    def shorten(self, updates: Updates, norms: Tensor, clip_norm: float) -> Tensor:
        return scale_rows(updates.vectors, norms, clip_norm / norms, clip_norm)

    def statistic(self, norms: Tensor, facts: PublicFacts) -> Tensor:
        """Return 1 for an update that fits under C, 0 for one that was clipped.  # [K]"""
        return (norms <= facts.clip_norm).double()

    def move(self, mean: float, facts: PublicFacts) -> float:
        step = self.clip_lr * (mean - self.target_unclipped)
        moved = facts.clip_norm * exp(-step) if self.geometric else facts.clip_norm - step
        return within(moved, self.clip_min, self.clip_max)
