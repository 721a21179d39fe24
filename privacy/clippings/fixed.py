"""Fixed clipping: scale every update that is longer than C down to norm C.

Source: McMahan, Ramage, Talwar, Zhang. Learning Differentially Private Recurrent Language Models.
ICLR 2018, Algorithm 1 (FlatClip). arXiv:1710.06963
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...core.updates import Updates
from .parts import flat_norms, scale_rows


@dataclass(frozen=True)
class Fixed:
    """Multiply by min(1, C / norm): what is short enough keeps its bits, whatever the other rows are."""

    on_clients: ClassVar[bool] = True

    def shorten(self, updates: Updates, norms: Tensor, clip_norm: float) -> Tensor:
        return scale_rows(updates.vectors, norms, clip_norm / norms, clip_norm)

    def factors(self, squares: Tensor, sizes: Sequence[int], clip_norm: float) -> Tensor:
        norms = flat_norms(squares)  # [1, ...]
        return (clip_norm / norms).clamp(max=1.0)
