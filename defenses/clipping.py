"""Norm clipping: no update is longer than a bound.

Source: Sun, Kairouz, Suresh, McMahan. Can You Really Backdoor Federated Learning? 2019
(norm thresholding). arXiv:1911.07963. The median of the round's norms as the bound is this
package's own choice.
"""

from dataclasses import dataclass
from math import inf
from typing import Literal

import torch
from torch import Tensor

from ..core.matrices import scaled
from ..core.norms import fast_row_norms
from ..core.updates import Updates

ClipNorm = float | Literal["median"]


@dataclass(frozen=True)
class Clipping:
    """Scale each update down to an L2 norm of at most ``clip_norm``; shorter ones stay as they are.

    This bounds what one client can do to the model. It proves no privacy: see the privacy mechanisms.

    Attributes:
        clip_norm: The bound, in units of the update's L2 norm, above 0; or ``"median"``: the median
            of the cohort's norms, so that half of the updates are clipped.
    """

    clip_norm: ClipNorm = "median"

    def __post_init__(self) -> None:
        check_clip_norm(self.clip_norm)

    def init(self) -> None:
        return None

    def transform(self, updates: Updates, state: None) -> tuple[Updates, None]:
        factors = clip_factors(fast_row_norms(updates.vectors), self.clip_norm)
        return updates.with_vectors(scaled(updates.vectors, factors)), state


def check_clip_norm(clip_norm: ClipNorm, name: str = "clip_norm") -> None:
    """Raise ``ValueError`` unless it is a bound or the name of one."""
    if clip_norm != "median" and not (isinstance(clip_norm, (int, float)) and 0 < clip_norm < inf):
        raise ValueError(f"{name} must be above 0 and finite, or median, got {clip_norm!r}")


def clip_factors(norms: Tensor, clip_norm: ClipNorm) -> Tensor:
    """Return what each update of these norms [K] is multiplied with, at most 1, float64.  # [K]"""
    if len(norms) == 0:
        return norms
    bound = norms.quantile(0.5) if clip_norm == "median" else norms.new_tensor(clip_norm)
    return torch.where(norms <= bound, 1.0, bound / norms.clamp(min=1e-300))
