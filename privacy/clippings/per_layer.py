"""Per-layer clipping: each tensor of the model has a bound of its own, together they make C.

Source: McMahan, Ramage, Talwar, Zhang. Learning Differentially Private Recurrent Language Models.
ICLR 2018, Section 2 (per-layer clipping, C = sqrt(sum C_l^2)). arXiv:1710.06963
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Literal

import torch
from torch import Tensor

from ...core.updates import Updates
from .parts import row_norms, scale_rows

SPLITS = ("equal", "size")


@dataclass(frozen=True)
class PerLayer:
    """Clip tensor l of every update to C_l, so that the whole stays below C.

    The server clips alone: it knows how the parameters lie in a vector. Outside a round, where nobody says
    so, the vector counts as one layer.

    Attributes:
        split: ``"equal"``: C_l = C / sqrt(L) for each of the L tensors. ``"size"``: C_l = C sqrt(P_l / P),
            the same bound for a coordinate everywhere.
    """

    split: Literal["equal", "size"] = "equal"

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {self.split!r}")

    def factors(self, squares: Tensor, sizes: Sequence[int], clip_norm: float) -> Tensor:
        bounds = torch.tensor([clip_norm * sqrt(share) for share in self._shares(sizes)], dtype=squares.dtype)
        return (bounds.view(-1, *[1] * (squares.ndim - 1)) / squares.sqrt()).clamp(max=1.0)  # [L, ...]

    def _shares(self, sizes: Sequence[int]) -> list[float]:
        """Return each tensor's share of C^2."""
        return [size / sum(sizes) if self.split == "size" else 1 / len(sizes) for size in sizes]

    def shorten(self, updates: Updates, norms: Tensor, clip_norm: float) -> Tensor:
        vectors, context = updates.vectors, updates.context
        sizes = [vectors.shape[1]] if context is None else [s.size for s in context.layout.parameters]
        clipped = []
        for part, share in zip(torch.split(vectors, sizes, dim=1), self._shares(sizes), strict=True):
            bound = clip_norm * sqrt(share)
            lengths = row_norms(part)  # [K]
            clipped.append(scale_rows(part, lengths, bound / lengths, bound))
        return torch.cat(clipped, dim=1)
