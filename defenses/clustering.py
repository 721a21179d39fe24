"""Clustering: split the cohort in two by the angles between updates, and average the larger part.

Source: Sattler, Müller, Wiegand, Samek. On the Byzantine Robustness of Clustered Federated Learning. ICASSP
2020. There the split is the bipartition with the least largest cosine between its parts, which is
agglomerative clustering by single linkage; ``average`` is what public libraries take.
"""

from dataclasses import dataclass

from ..core.contracts import Verdict
from ..core.updates import Updates, row_norms
from .clipped_clustering import LINKAGES, Linkage, cosine_distances, larger_cluster
from .parts.screening import screened, uniform


@dataclass(frozen=True)
class Clustering:
    """Average the larger of two agglomerative clusters by cosine distance; the others are flagged.

    On a tie the part of the client with the lowest id stays. An update of length 0 is at distance 2 from
    all others. Somebody is always left out, unless all updates point the same way or fewer than three
    clients came. Lengths are not looked at: who is among the larger part may send an update of any length.

    Attributes:
        linkage: How the distance of two clusters follows from that of their members.
    """

    linkage: Linkage = "average"

    def __post_init__(self) -> None:
        if self.linkage not in LINKAGES:
            raise ValueError(f"linkage must be one of {', '.join(LINKAGES)}, got '{self.linkage}'")

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        distance = cosine_distances(updates.vectors, row_norms(updates.vectors))
        keep = larger_cluster(distance, self.linkage)
        return screened(updates, uniform(keep), ~keep), state
