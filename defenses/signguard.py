"""SignGuard: keep the clients of ordinary length whose signs fall like those of most.

Source: Xu, Huang, Song, Lan. Byzantine-robust Federated Learning through Collaborative Malicious Gradient
Filtering. ICDCS 2022, Algorithms 1 and 2. arXiv:2109.05872. The last aggregate as the reference of the two
variants is this package's choice.
"""

import warnings
from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.updates import Updates, row_norms
from .clipping import clip_factors
from .parts.columns import Array
from .parts.geometry import cosines_to
from .parts.screening import screened, stream, uniform

Reference = Literal["none", "cosine", "distance"]
REFERENCES = ("none", "cosine", "distance")

NO_SPREAD = 1e-7
"""A narrower bandwidth, of features of at most 1, is what rounding leaves of the distance of equals."""


@dataclass(frozen=True)
class SignGuard:
    """Average, clipped to the median norm, the updates that pass a test of length and one of signs.

    The signs are counted on one random block of coordinates, and the shares of plus, zero and minus
    clustered by mean shift; the largest cluster passes. Magnitudes do not count there, so that an attack
    which stays near the mean passes.

    Attributes:
        least_norm: Shorter updates fail, in units of the cohort's median norm, at least 0.
        largest_norm: Longer ones fail, in the same unit, above ``least_norm``.
        block_share: Size of the block, as a share of all coordinates, above 0 and at most 1.
        reference: A fourth feature: the ``"cosine"`` or ``"distance"`` to the last aggregate (none in the
            first round).
    """

    least_norm: float = 0.1
    largest_norm: float = 3.0
    block_share: float = 0.1
    reference: Reference = "none"

    def __post_init__(self) -> None:
        if not 0 <= self.least_norm < self.largest_norm < inf:
            raise ValueError(
                "least_norm must be in [0, largest_norm), both finite, got "
                f"{self.least_norm} with {self.largest_norm}"
            )
        if not 0 < self.block_share <= 1:
            raise ValueError(f"block_share must be in (0, 1], got {self.block_share}")
        if self.reference not in REFERENCES:
            raise ValueError(f"reference must be one of {', '.join(REFERENCES)}, got '{self.reference}'")

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: Tensor | None) -> tuple[Verdict, Tensor | None]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        lengths = row_norms(updates.vectors)
        median = float(lengths.quantile(0.5))
        ordinary = (lengths > self.least_norm * median) & (lengths < self.largest_norm * median)
        ordinary |= lengths == median  # so that zeros are ordinary among zeros
        keep = ordinary & _largest_cluster(self._features(updates, state))
        verdict = screened(updates, uniform(keep) * clip_factors(lengths, median), ~keep)
        return verdict, None if self.reference == "none" else verdict.aggregate

    def _features(self, updates: Updates, last: Tensor | None) -> Array:
        """Return what a client is clustered by, each column divided by its largest value.  # [K, 3 or 4]"""
        size = updates.vectors.shape[1]
        width = max(1, int(self.block_share * size))
        start = int(stream(updates, "signguard").integers(size - width + 1))
        block = updates.vectors[:, start : start + width]
        columns = [(block > 0).sum(dim=1), (block == 0).sum(dim=1), (block < 0).sum(dim=1)]
        if last is not None:
            alike = cosines_to(updates.vectors, last)
            columns.append(alike if self.reference == "cosine" else row_norms(updates.vectors, last))
        features = torch.stack([c.to(torch.float64) for c in columns], dim=1).numpy()
        largest = np.abs(features).max(axis=0)
        scaled: Array = features / np.where(largest > 0, largest, 1.0)
        return scaled


def _largest_cluster(features: Array) -> Tensor:
    """Return who is in mean shift's largest cluster; the largest group of equals if most are, bool.  # [K]"""
    from sklearn.cluster import MeanShift, estimate_bandwidth

    bandwidth = estimate_bandwidth(features, quantile=0.5)
    if not bandwidth > NO_SPREAD:
        _, groups, sizes = np.unique(features, axis=0, return_inverse=True, return_counts=True)
        return torch.from_numpy(groups.reshape(-1) == sizes.argmax())
    with warnings.catch_warnings():  # it warns where no two clients share a bin, and then takes all as seeds
        warnings.simplefilter("ignore")
        model = MeanShift(bandwidth=bandwidth, bin_seeding=True, cluster_all=False).fit(features)
    labels = model.labels_
    inside = labels[labels >= 0]
    largest = np.bincount(inside).argmax() if len(inside) else -1
    return torch.from_numpy(labels == largest)
