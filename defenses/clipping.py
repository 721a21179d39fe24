"""Norm clipping: no update is longer than a bound.

Source: Sun, Kairouz, Suresh, McMahan. Can You Really Backdoor Federated Learning? 2019
(norm thresholding). arXiv:1911.07963. The median of the round's norms as the bound is this
package's own choice.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..core.updates import Updates
from .columns import column_blocks


@dataclass(frozen=True)
class Clipping:
    """Scale each update down to an L2 norm of at most ``clip_norm``; shorter ones stay as they are.

    This bounds what one client can do to the model. It proves no privacy: see the privacy mechanisms.

    Attributes:
        clip_norm: The bound, in units of the update's L2 norm, above 0; or ``"median"``: the median
            of the cohort's norms, so that half of the updates are clipped.
    """

    clip_norm: float | Literal["median"] = "median"

    def __post_init__(self) -> None:
        if self.clip_norm != "median" and not (
            isinstance(self.clip_norm, (int, float)) and self.clip_norm > 0
        ):
            raise ValueError(f"clip_norm must be above 0, or median, got {self.clip_norm!r}")

    def init(self) -> None:
        return None

    def transform(self, updates: Updates, state: None) -> tuple[Updates, None]:
        norms = _norms(updates.vectors)  # [K]
        if len(norms) == 0:
            return updates, state
        bound = norms.quantile(0.5) if self.clip_norm == "median" else norms.new_tensor(self.clip_norm)
        factors = (bound / norms.clamp(min=1e-300)).clamp(max=1.0)  # [K]
        return updates.with_vectors(updates.vectors * factors[:, None].to(updates.vectors.dtype)), state


def _norms(vectors: Tensor) -> Tensor:
    """Return each row's L2 norm in float64.  # [K]"""
    squares = np.zeros(len(vectors))
    for _, block in column_blocks(vectors):
        exact = block.astype(np.float64)
        squares += np.einsum("kp,kp->k", exact, exact)
    return torch.from_numpy(squares).sqrt()
