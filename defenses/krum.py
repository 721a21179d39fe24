"""Krum: trust the one client whose neighbours are nearest.

Source: Blanchard, El Mhamdi, Guerraoui, Stainer. Machine Learning with Adversaries: Byzantine
Tolerant Gradient Descent. NeurIPS 2017. arXiv:1703.02757
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.updates import Updates, weighted_sum
from .distances import squared_distances
from .fallback import OnInfeasible, check_robustness, fall_back

Neighbours = Literal["paper", "byzfl"]
Preset = Literal["mudhog_repo"]
Weighting = Literal["uniform", "num_examples"]


@dataclass(frozen=True)
class Krum:
    """Return the update whose squared distances to its nearest neighbours sum to the least.

    On a tie the client with the lowest id wins. The scores are those sums: low is trusted.

    Attributes:
        num_byzantine: Malicious clients to survive in one cohort (the paper's f), at least 0. The
            cohort must hold at least 2 f + 3 clients; with f = 0 any cohort will do.
        neighbours: How many of the others count: ``"paper"``: K - f - 2; ``"byzfl"``: K - f - 1, as
            that library has it. The two sometimes choose differently.
        on_infeasible: What to do with a smaller cohort: ``"raise"``, or take the ``"mean"`` or ``"median"``.
        preset: ``"mudhog_repo"`` scores as the baseline published beside MUD-HoG, whatever the options
            above say: with f = K // 2, by the sum of the K - f - 1 smallest distances that are not
            squared, itself included; any cohort will do.
    """

    num_byzantine: int
    neighbours: Neighbours = "paper"
    on_infeasible: OnInfeasible = "raise"
    preset: Preset | None = None

    def __post_init__(self) -> None:
        check_robustness(self.num_byzantine, self.on_infeasible)
        check_neighbours(self.neighbours)
        check_preset(self.preset)

    @property
    def least_cohort(self) -> int:
        """The smallest cohort, if not empty, that does not raise."""
        refuses = self.on_infeasible == "raise" and self.preset is None
        return least_krum_cohort(self.num_byzantine) if refuses else 1

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        if self.preset == "mudhog_repo":
            return mean_of(updates, repo_scores(squared_distances(updates.vectors)), num_selected=1), state
        if reason := too_small(len(updates), self.num_byzantine):
            return fall_back(self.on_infeasible, updates, reason), state
        scores = krum_scores(updates.vectors, self.num_byzantine, self.neighbours)
        return mean_of(updates, scores, num_selected=1), state


def check_neighbours(neighbours: str) -> None:
    """Raise ``ValueError`` for an unknown rule of counting."""
    if neighbours not in ("paper", "byzfl"):
        raise ValueError(f"neighbours must be paper or byzfl, got '{neighbours}'")


def check_preset(preset: str | None) -> None:
    """Raise ``ValueError`` for an unknown preset."""
    if preset not in (None, "mudhog_repo"):
        raise ValueError(f"preset must be mudhog_repo, got '{preset}'")


def least_krum_cohort(num_byzantine: int) -> int:
    """Return the smallest cohort for which the paper's theorem holds, or 1 if nobody is malicious."""
    return 2 * num_byzantine + 3 if num_byzantine else 1


def too_small(cohort_size: int, num_byzantine: int) -> str:
    """Return why Krum cannot judge a cohort of this size, or nothing."""
    least = least_krum_cohort(num_byzantine)
    if cohort_size >= least:
        return ""
    return (
        f"Krum against {num_byzantine} malicious clients needs a cohort of {least} or more, got {cohort_size}"
    )


def krum_scores(vectors: Tensor, num_byzantine: int, neighbours: Neighbours) -> Tensor:
    """Return each row's sum of squared distances to its nearest others, itself left out.  # [K]"""
    return scores_of(squared_distances(vectors), num_byzantine, neighbours)


def scores_of(distances: Tensor, num_byzantine: int, neighbours: Neighbours) -> Tensor:
    """Return Krum's scores from squared distances [K, K].  # [K]"""
    cohort_size = len(distances)
    count = cohort_size - num_byzantine - (2 if neighbours == "paper" else 1)
    count = min(max(count, 1), cohort_size - 1)  # below 1 only in cohorts of one or two without f
    others = distances.clone().fill_diagonal_(torch.inf)
    return others.sort(dim=1).values[:, :count].sum(dim=1)


def repo_size(cohort_size: int) -> int:
    """Return how many updates, itself included, a score of the preset sums."""
    return max(cohort_size - cohort_size // 2 - 1, 1)


def repo_scores(distances: Tensor) -> Tensor:
    """Return the preset's scores from squared distances [K, K].  # [K]"""
    return distances.sqrt().sort(dim=1).values[:, : repo_size(len(distances))].sum(dim=1)


def mean_of(updates: Updates, scores: Tensor, num_selected: int, weighting: Weighting = "uniform") -> Verdict:
    """Return the mean of the ``num_selected`` best-scored clients, ties in client order."""
    return mean_of_rows(updates, scores, scores.argsort(stable=True)[:num_selected], weighting)


def mean_of_rows(updates: Updates, scores: Tensor, rows: Tensor, weighting: Weighting = "uniform") -> Verdict:
    """Return the mean of the clients in ``rows``, whose scores [K] go on record."""
    chosen = torch.zeros(len(updates), dtype=torch.bool)
    chosen[rows] = True
    counts = updates.num_examples.clamp(min=0) if weighting == "num_examples" else chosen
    counts = torch.where(chosen, counts, 0).to(torch.float64)
    counts = counts if bool(counts.any()) else chosen.to(torch.float64)
    aggregate = weighted_sum(updates.vectors, counts) / counts.sum()
    by_client = dict(zip(updates.client_ids.tolist(), scores.tolist(), strict=True))
    return Verdict(aggregate.to(updates.vectors.dtype), counts / counts.sum(), scores=by_client)
