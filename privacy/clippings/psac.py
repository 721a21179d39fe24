"""PSAC: per-sample adaptive clipping, a weight that does not favour the very short updates.

Source: Xia, Shen, Yao, Fu, Xu, Xu, Fu. Differentially Private Learning with Per-Sample Adaptive Clipping.
AAAI 2023, arXiv:2212.00328. The formula was not checked against the paper: unverified.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from torch import Tensor

from ...core.updates import Updates
from .parts import flat_norms, scale_rows


@dataclass(frozen=True)
class Psac:
    """Multiply by C / (norm + r / (norm + r)): at most 1.88 C for r = 0.1, against 100 C of AUTO-S.

    Attributes:
        r: Where the weight turns from flat to falling, in units of the update's L2 norm, above 0.
    """

    r: float = 0.1

    on_clients: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (isfinite(self.r) and self.r > 0):
            raise ValueError(f"r must be finite and above 0, got {self.r}")

    def shorten(self, updates: Updates, norms: Tensor, clip_norm: float) -> Tensor:
        factors = clip_norm / (norms + self.r / (norms + self.r))  # [K]
        return scale_rows(updates.vectors, norms, factors, clip_norm, stretch=True)

    def factors(self, squares: Tensor, sizes: Sequence[int], clip_norm: float) -> Tensor:
        norms = flat_norms(squares)  # [1, ...]
        return clip_norm / (norms + self.r / (norms + self.r))
