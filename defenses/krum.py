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
from .parts.distances import squared_distances
from .parts.fallback import CHOICES, REMEDY, OnInfeasible, check_robustness, fall_back

Neighbours = Literal["paper", "byzfl"]
OnSmallCohort = OnInfeasible | Literal["compute"]
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
        on_infeasible: What to do with a smaller cohort: ``"raise"``, take the ``"mean"`` or ``"median"``, or
            ``"compute"`` the scores all the same, over at least one neighbour, as flwr and ByzFL do. Then the
            cohort must be above 2 f, as ByzFL has it, and the paper's theorem says nothing.
        preset: ``"mudhog_repo"`` scores as the baseline published beside MUD-HoG, whatever the options
            above say: with f = K // 2, by the sum of the K - f - 1 smallest distances that are not
            squared, itself included; any cohort will do.
    """

    num_byzantine: int
    neighbours: Neighbours = "paper"
    on_infeasible: OnSmallCohort = "raise"
    preset: Preset | None = None

    def __post_init__(self) -> None:
        check_robustness(self.num_byzantine, self.on_infeasible, (*CHOICES, "compute"))
        check_neighbours(self.neighbours)
        check_preset(self.preset)

    @property
    def least_cohort(self) -> int:
        """The smallest cohort, if not empty, that does not raise."""
        return 1 if self.preset else least_krum_cohort(self.num_byzantine, self.on_infeasible)

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        if self.preset == "mudhog_repo":
            return mean_of(updates, repo_scores(squared_distances(updates.vectors)), num_selected=1), state
        if (instead := without_theorem(self.num_byzantine, self.on_infeasible, updates)) is not None:
            return instead, state
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


def least_krum_cohort(num_byzantine: int, on_infeasible: str) -> int:
    """Return the smallest cohort, if not empty, that is not refused."""
    if on_infeasible in ("mean", "median"):
        return 1
    return _least(num_byzantine, on_infeasible)


def _least(num_byzantine: int, on_infeasible: str) -> int:
    """Return the smallest cohort that is scored: that of the paper's theorem, or one with a majority."""
    if num_byzantine == 0:
        return 1
    return 2 * num_byzantine + (1 if on_infeasible == "compute" else 3)


def without_theorem(num_byzantine: int, how: OnSmallCohort, updates: Updates) -> Verdict | None:
    """Return what becomes of a cohort that is too small to be scored; None where it is not.

    Raises:
        InfeasibleCohort: It is, and ``how`` is ``"raise"`` or ``"compute"``.
    """
    least = _least(num_byzantine, how)
    if len(updates) >= least:
        return None
    reason = (
        f"Krum against {num_byzantine} malicious clients needs a cohort of {least} or more, "
        f"got {len(updates)}"
    )
    computable = how == "raise" and len(updates) > 2 * num_byzantine
    remedy = REMEDY + (", set on_infeasible to compute" if computable else "")
    return fall_back("raise" if how == "compute" else how, updates, reason, remedy)


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
