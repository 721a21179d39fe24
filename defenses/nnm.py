"""Nearest-neighbour mixing: replace every update by the mean of its neighbourhood.

Source: Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan. Fixing by Mixing: A Recipe for Optimal
Byzantine ML under Heterogeneity. AISTATS 2023. arXiv:2302.01772
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..core.errors import InfeasibleCohort
from ..core.updates import Updates
from .parts.columns import mix
from .parts.distances import squared_distances


@dataclass(frozen=True)
class NNM:
    """Replace each update by the mean of the K - f updates nearest to it, itself included.

    Attributes:
        num_byzantine: Malicious clients to survive in one cohort (the paper's f), at least 0 and
            below the cohort's size.
    """

    num_byzantine: int

    mixes_clients: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.num_byzantine < 0:
            raise ValueError(f"num_byzantine must be at least 0, got {self.num_byzantine}")

    @property
    def least_cohort(self) -> int:
        """The smallest cohort, if not empty, that does not raise."""
        return self.num_byzantine + 1

    def init(self) -> None:
        return None

    def transform(self, updates: Updates, state: None) -> tuple[Updates, None]:
        cohort_size, f = len(updates), self.num_byzantine
        if cohort_size == 0:
            return updates, state
        if cohort_size <= f:
            raise InfeasibleCohort(f"mixing {f} clients out needs a cohort above {f}, got {cohort_size}")
        mixing = _neighbourhoods(updates.vectors, cohort_size - f)  # [K, K]
        return updates.with_vectors(mix(updates.vectors, mixing)), state


def _neighbourhoods(vectors: Tensor, size: int) -> Tensor:
    """Return rows that average each client's ``size`` nearest, ties in client order.  # [K, K]"""
    distances = squared_distances(vectors).fill_diagonal_(-1.0)  # itself first, before any copy of it
    nearest = distances.argsort(dim=1, stable=True)[:, :size]
    return torch.zeros_like(distances).scatter_(1, nearest, 1.0 / size)
