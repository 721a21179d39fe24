"""FLAME: keep the majority cluster of local models, clip its updates to the median norm, add a little noise.

Source: Nguyen, Rieger, Chen, Yalame, Moellering, Fereidooni, Marchal, Miettinen, Mirhoseini, Zeitouni,
Koushanfar, Sadeghi, Schneider. FLAME: Taming Backdoors in Federated Learning. USENIX Security 2022,
Algorithm 1. arXiv:2101.02281. A public re-implementation gives the distances to the clustering as features:
``input = "rows"``.
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.seeds import normal
from ..core.updates import Updates, row_norms
from .clipping import clip_factors
from .parts.geometry import NO_LENGTH, cosines
from .parts.memory import stored
from .parts.screening import needed, screened, stream, uniform


@dataclass(frozen=True)
class FLAME:
    """Average the clipped updates of the clients whose local models lie in one dense majority.

    Distances are those of the local models (global parameters plus update), not of the updates. The bound
    is the median norm of all the cohort's updates. Where no majority is dense, everybody is accepted. The
    noise makes backdoors weaker; it proves no privacy.

    Attributes:
        noise_factor: The paper's lambda: standard deviation of the noise on each coordinate, in units of
            the clipping bound, at least 0.
        min_cluster_size: Least members of a cluster, at least 2; None takes K // 2 + 1.
        min_samples: Neighbours that make a client's neighbourhood dense, at least 1.
        input: What the clustering is given: ``"precomputed"``: cosine distances. ``"rows"``: each
            client's distances to all as its features.
    """

    noise_factor: float = 0.001
    min_cluster_size: int | None = None
    min_samples: int = 1
    input: Literal["precomputed", "rows"] = "precomputed"

    beside_params: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.noise_factor < inf:
            raise ValueError(f"noise_factor must be at least 0 and finite, got {self.noise_factor}")
        if self.min_cluster_size is not None and self.min_cluster_size < 2:
            raise ValueError(f"min_cluster_size must be at least 2, got {self.min_cluster_size}")
        if self.min_samples < 1:
            raise ValueError(f"min_samples must be at least 1, got {self.min_samples}")
        if self.input not in ("precomputed", "rows"):
            raise ValueError(f"input must be precomputed or rows, got '{self.input}'")

    @property
    def exempt(self) -> tuple[str, ...]:
        """With noise even equal updates do not come back as they were."""
        return ("equal_updates_come_back_unchanged",) if self.noise_factor else ()

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        params = needed(updates, "flame", "the global parameters").params
        keep = self._majority(1 - cosines(updates.vectors, shift=params))
        lengths = row_norms(updates.vectors)
        bound = float(lengths.quantile(0.5))
        verdict = screened(updates, uniform(keep) * clip_factors(lengths, bound), ~keep)
        noise = normal(stream(updates, "flame"), len(params), self.noise_factor * bound)
        dtype = verdict.aggregate.dtype
        aggregate = verdict.aggregate + noise.to(dtype)
        return Verdict(stored(aggregate, dtype), verdict.weights, verdict.flags), state

    def _majority(self, distance: Tensor) -> Tensor:
        """Return who is in the largest cluster, everybody where there is none, bool.  # [K]"""
        cohort_size = len(distance)
        everybody = torch.ones(cohort_size, dtype=torch.bool)
        least = self.min_cluster_size or cohort_size // 2 + 1
        if cohort_size < max(least, 3, self.min_samples) or float(distance.max()) < NO_LENGTH:
            return everybody
        from sklearn.cluster import HDBSCAN

        model = HDBSCAN(
            min_cluster_size=least,
            min_samples=self.min_samples,
            allow_single_cluster=True,
            metric="precomputed" if self.input == "precomputed" else "euclidean",
            copy=True,
        )
        labels = torch.from_numpy(model.fit_predict(distance.fill_diagonal_(0.0).numpy()))
        clusters = labels[labels >= 0]
        return labels == int(clusters.mode().values) if len(clusters) else everybody
