"""Clipped clustering: clip to the median of all norms ever seen, and average the larger of two clusters.

Source: Li, Ngai, Voigt. An Experimental Study of Byzantine-Robust Aggregation Schemes in Federated
Learning. IEEE Transactions on Big Data, 2023. The linkage is ``average`` in the later of the authors'
libraries and ``complete`` in the earlier one; keeping only the last 10,000 norms is this package's choice.
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.updates import Updates, row_norms
from .clipping import clip_factors
from .parts.geometry import NO_LENGTH, cosines
from .parts.screening import screened, uniform

Linkage = Literal["average", "complete", "single"]
LINKAGES = ("average", "complete", "single")


@dataclass(frozen=True)
class ClippedClustering:
    """Split the cohort in two by cosine distance and average the clipped updates of the larger part.

    On a tie the part of the client with the lowest id stays. An update of length 0 is at distance 2 from
    all others. Somebody is always left out, unless all updates point the same way or fewer than three
    clients came.

    Attributes:
        max_clip_norm: The bound is never above this, in units of the update's L2 norm, above 0.
        linkage: How the distance of two clusters follows from that of their members.
        max_norms: Norms remembered, the newest ones, at least 1.
    """

    max_clip_norm: float = 1e5
    linkage: Linkage = "average"
    max_norms: int = 10_000

    stale: ClassVar[bool] = True  # norms alone are remembered

    def __post_init__(self) -> None:
        if not 0 < self.max_clip_norm < inf:
            raise ValueError(f"max_clip_norm must be above 0 and finite, got {self.max_clip_norm}")
        if self.linkage not in LINKAGES:
            raise ValueError(f"linkage must be one of {', '.join(LINKAGES)}, got '{self.linkage}'")
        if self.max_norms < 1:
            raise ValueError(f"max_norms must be at least 1, got {self.max_norms}")

    def init(self) -> Tensor:
        return torch.zeros(0, dtype=torch.float64)

    def aggregate(self, updates: Updates, state: Tensor) -> tuple[Verdict, Tensor]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        lengths = row_norms(updates.vectors)
        state = torch.cat([state, lengths])[-self.max_norms :]
        keep = larger_cluster(cosine_distances(updates.vectors, lengths), self.linkage)
        bound = min(self.max_clip_norm, float(state.quantile(0.5)))
        return screened(updates, uniform(keep) * clip_factors(lengths, bound), ~keep), state


def cosine_distances(vectors: Tensor, lengths: Tensor) -> Tensor:
    """Return 1 - cosine of every two rows, 2 where one has no length.  # [K, K]"""
    distance = 1 - cosines(vectors)
    without = lengths < NO_LENGTH
    distance[without] = 2.0
    distance[:, without] = 2.0
    return distance.fill_diagonal_(0.0)


def larger_cluster(distance: Tensor, linkage: str) -> Tensor:
    """Return who is in the larger of two agglomerative clusters, bool.  # [K]"""
    if len(distance) < 3 or float(distance.max()) < NO_LENGTH:
        return torch.ones(len(distance), dtype=torch.bool)
    from sklearn.cluster import AgglomerativeClustering

    model = AgglomerativeClustering(n_clusters=2, metric="precomputed", linkage=linkage)
    labels = torch.from_numpy(model.fit_predict(distance.numpy()))
    with_first = labels == labels[0]
    return with_first if 2 * int(with_first.sum()) >= len(labels) else ~with_first
