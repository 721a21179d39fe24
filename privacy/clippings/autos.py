"""AUTO-S: automatic clipping, which normalises every update and keeps a little of its size.

Source: Bu, Wang, Zha, Karypis. Automatic Clipping: Differentially Private Deep Learning Made Easier and
Stronger. NeurIPS 2023, equation (4.1) as in the authors' code. arXiv:2206.07136
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from torch import Tensor

from ...core.updates import Updates
from .parts import flat_norms, scale_rows


@dataclass(frozen=True)
class AutoS:
    """Multiply by C / (norm + gamma): short updates grow, long ones shrink, all stay below C.

    There is no threshold to tune: C only scales what the server's learning rate scales too, so leave
    ``clip_norm = 1`` and tune that. The size of an update says next to nothing any more, and one of norm far
    below gamma weighs up to 1 / gamma times its size.

    Attributes:
        gamma: Keeps short updates short, in units of the update's L2 norm, above 0.
    """

    gamma: float = 0.01

    on_clients: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (isfinite(self.gamma) and self.gamma > 0):
            raise ValueError(f"gamma must be finite and above 0 (autov has none), got {self.gamma}")

    def shorten(self, updates: Updates, norms: Tensor, clip_norm: float) -> Tensor:
        factors = clip_norm / (norms + self.gamma)  # [K]
        return scale_rows(updates.vectors, norms, factors, clip_norm, stretch=True)

    def factors(self, squares: Tensor, sizes: Sequence[int], clip_norm: float) -> Tensor:
        norms = flat_norms(squares)  # [1, ...]
        return clip_norm / (norms + self.gamma)
