"""AUTO-V: automatic clipping in its plain form, which normalises every update.

Source: Bu, Wang, Zha, Karypis. Automatic Clipping: Differentially Private Deep Learning Made Easier and
Stronger. NeurIPS 2023, Section 4. arXiv:2206.07136
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...core.updates import Updates
from .parts import flat_norms, scale_rows


@dataclass(frozen=True)
class AutoV:
    """Multiply by C / norm, whatever the norm: only the direction counts. An update of zero stays zero."""

    on_clients: ClassVar[bool] = True

    def shorten(self, updates: Updates, norms: Tensor, clip_norm: float) -> Tensor:
        factors = torch.where(norms > 0, clip_norm / norms, 0.0)  # [K]
        return scale_rows(updates.vectors, norms, factors, clip_norm, stretch=True)

    def factors(self, squares: Tensor, sizes: Sequence[int], clip_norm: float) -> Tensor:
        norms = flat_norms(squares)  # [1, ...]
        return torch.where(norms > 0, clip_norm / norms, 0.0)
