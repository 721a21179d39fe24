"""AlignIns: keep the updates whose direction and dominant signs are ordinary, clip them, and average.

Source: Xu, Zhang, Hu. Detecting Backdoor Attacks in Federated Learning via Direction Alignment Inspection.
CVPR 2025. arXiv:2503.07978, and the authors' code, from which the population's standard deviation and the
median norm of those that are kept are taken. The code weighs clients by their examples; here they are alike.
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.updates import Updates, row_norms
from .clipping import clip_factors
from .parts.columns import BLOCK_ELEMENTS, Array, column_blocks
from .parts.geometry import NO_LENGTH, cosines_to
from .parts.screening import needed, screened, uniform


@dataclass(frozen=True)
class AlignIns:
    """Average those whose two alignments lie near the cohort's median, each in standard deviations.

    The temporal alignment (TDA) is an update's cosine to the global parameters; the sign alignment (MPSA)
    the share of its largest coordinates whose sign is that of most clients. Whoever lies less than
    ``temporal_tolerance`` and ``sign_tolerance`` standard deviations from the medians is kept, and clipped to
    the median norm of those. Where nobody is kept the aggregate is 0, as of two clients, each of which is one
    standard deviation from their median. Scores are the larger of the two
    distances over its tolerance: who has 1 or more is left out.

    It measures in the cohort's own spread, so that some are left out in every round, attack or not; and many
    attackers, or few among very different clients, widen the spread until they fit.

    Attributes:
        largest_share: Share of an update's coordinates, the largest, whose signs count (the paper's k over
            d), above 0 and at most 1; at least one. Equals of the smallest count, too.
        temporal_tolerance: The paper's lambda_c, in standard deviations, above 0.
        sign_tolerance: The paper's lambda_s, likewise.
    """

    largest_share: float = 0.3
    temporal_tolerance: float = 1.0
    sign_tolerance: float = 1.0

    beside_params: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.largest_share <= 1:
            raise ValueError(f"largest_share must be above 0 and at most 1, got {self.largest_share}")
        for name in ("temporal_tolerance", "sign_tolerance"):
            if not 0 < getattr(self, name) < inf:
                raise ValueError(f"{name} must be above 0 and finite, got {getattr(self, name)}")

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        params = needed(updates, "alignins", "the global parameters").params
        temporal = from_median(cosines_to(updates.vectors, params)) / self.temporal_tolerance
        signs = from_median(sign_alignment(updates.vectors, self.largest_share)) / self.sign_tolerance
        scores = torch.maximum(temporal, signs)  # [K]
        keep = scores < 1
        lengths = row_norms(updates.vectors)
        bound = float(lengths[keep].quantile(0.5)) if bool(keep.any()) else 0.0
        return screened(updates, uniform(keep) * clip_factors(lengths, bound), ~keep, scores), state


def sign_alignment(vectors: Tensor, share: float) -> Tensor:
    """Return the share of each row's largest entries that have the sign of most rows, float64.  # [K]

    The sign of most is that of the sum of signs; where it is 0 only zeros agree.
    """
    least = _least_of_largest(vectors, share)[:, None]
    agree, count = np.zeros((2, len(vectors)))
    for _, block in column_blocks(vectors):
        signs = np.sign(block)
        largest = np.abs(block) >= least
        agree += (largest & (signs == np.sign(signs.sum(axis=0)))).sum(axis=1)
        count += largest.sum(axis=1)
    return torch.from_numpy(agree / count)


def _least_of_largest(vectors: Tensor, share: float) -> Array:
    """Return the least magnitude among each row's largest entries.  # [K]"""
    matrix, size = vectors.detach().numpy(), vectors.shape[1]
    dropped, height = size - max(1, int(share * size)), max(1, BLOCK_ELEMENTS // size)
    least = np.empty(len(matrix), dtype=matrix.dtype)
    for start in range(0, len(matrix), height):
        rows = np.abs(matrix[start : start + height])
        least[start : start + height] = np.partition(rows, dropped, axis=1)[:, dropped]
    return least


def from_median(values: Tensor) -> Tensor:
    """Return each value's distance to the median in standard deviations; 0 where all are equal.  # [K]"""
    apart = (values - values.quantile(0.5)).abs()
    spread = float(values.std(correction=0))
    return apart / spread if spread > NO_LENGTH else torch.zeros_like(apart)
