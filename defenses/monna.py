"""MoNNA: average the neighbours of a client that the server trusts.

Source: Farhadkhani, Guerraoui, Gupta, Hoang, Pinot, Stephan. Robust Collaborative Learning with Linear
Gradient Overhead. ICML 2023. arXiv:2209.10931 (number unverified). There every node trusts itself; a
server needs somebody to trust.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from ..core.contracts import Verdict
from ..core.updates import Updates, row_norms, weighted_sum
from .parts.fallback import OnInfeasible, check_robustness, fall_back, least_majority, without_majority


@dataclass(frozen=True)
class MoNNA:
    """Average the K - f updates nearest to the trusted client's, itself included.

    The scores are the distances to it: low is trusted. Ties go to the lowest id.

    Attributes:
        num_byzantine: Malicious clients to survive in one cohort (the paper's f), at least 0. The cohort
            must be above twice that.
        trusted_client: The id of the client to trust.
        on_infeasible: What to do with a smaller cohort, or one without the trusted client: ``"raise"``, or
            take the ``"mean"`` or ``"median"``.
    """

    num_byzantine: int
    trusted_client: int = 0
    on_infeasible: OnInfeasible = "raise"

    exempt: ClassVar[tuple[str, ...]] = ("who_sent_a_row_does_not_matter",)

    def __post_init__(self) -> None:
        check_robustness(self.num_byzantine, self.on_infeasible)
        if self.trusted_client < 0:
            raise ValueError(f"trusted_client must be at least 0, got {self.trusted_client}")

    @property
    def least_cohort(self) -> int:
        """The smallest cohort, if not empty, that does not raise."""
        return least_majority(self.num_byzantine, self.on_infeasible)

    @property
    def needs_clients(self) -> tuple[int, ...]:
        """The trusted client, where a cohort without it is refused."""
        return (self.trusted_client,) if self.on_infeasible == "raise" else ()

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        cohort_size, f = len(updates), self.num_byzantine
        if (instead := without_majority("MoNNA", f, self.on_infeasible, updates)) is not None:
            return instead, state
        trusted = (updates.client_ids == self.trusted_client).nonzero().flatten()
        if len(trusted) == 0:
            reason = f"the trusted client {self.trusted_client} is not in the cohort"
            remedy = "set trusted_client to one that comes in every round"
            return fall_back(self.on_infeasible, updates, reason, remedy), state
        distances = row_norms(updates.vectors, updates.vectors[int(trusted)])
        ranked = distances.index_fill(0, trusted, -1.0)  # itself first, before any copy of it
        weights = torch.zeros_like(distances)
        weights[ranked.argsort(stable=True)[: cohort_size - f]] = 1
        aggregate = weighted_sum(updates.vectors, weights) / (cohort_size - f)
        by_client = dict(zip(updates.client_ids.tolist(), distances.tolist(), strict=True))
        return Verdict(
            aggregate.to(updates.vectors.dtype), weights / (cohort_size - f), scores=by_client
        ), state
