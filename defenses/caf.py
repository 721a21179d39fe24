"""Covariance-bound agnostic filter (CAF).

Source: Allouah, Guerraoui, Stephan. Towards Trustworthy Federated Learning with Untrusted
Participants. ICML 2025. arXiv:2505.01874
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.updates import Updates, weighted_sum
from .parts.distances import central_gram
from .parts.fallback import OnInfeasible, check_robustness, least_majority, without_majority

LEAST_STEP = 0.01
"""Weight that one step must take off, in clients."""
ROUNDING = 1e-13
"""Spread that may be none, as a share of the mean squared distance from a client amid the others."""


@dataclass(frozen=True)
class CAF:
    """Weigh down who stands out along the direction of largest spread, again and again.

    Every client starts with weight 1. The squared distance from the weighted mean along the top
    eigenvector of the weighted covariance, over its maximum, is taken off each weight, until K - 2 f or
    less is left. Of all the weighted means met, the one with the smallest top eigenvalue is returned. The
    eigenvectors are exact and nothing is drawn: the covariance of K updates has K eigenvectors at most,
    found from their inner products.

    The maximum is over the cohort. Where a client without weight is so far away that the others would lose
    next to nothing, and the filter would go on for ever, it is over those with weight: our own choice.

    Attributes:
        num_byzantine: Malicious clients to survive in one cohort (the paper's f), at least 0. The cohort
            must be above twice that.
        on_infeasible: What to do with a smaller cohort: ``"raise"``, or take the ``"mean"`` or ``"median"``.
    """

    num_byzantine: int
    on_infeasible: OnInfeasible = "raise"

    def __post_init__(self) -> None:
        check_robustness(self.num_byzantine, self.on_infeasible)

    @property
    def least_cohort(self) -> int:
        """The smallest cohort, if not empty, that does not raise."""
        return least_majority(self.num_byzantine, self.on_infeasible)

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        f = self.num_byzantine
        if (instead := without_majority("CAF", f, self.on_infeasible, updates)) is not None:
            return instead, state
        weights = _filtered(central_gram(updates.vectors), f)
        aggregate = weighted_sum(updates.vectors, weights)
        return Verdict(aggregate.to(updates.vectors.dtype), weights), state


def _filtered(gram: Tensor, num_byzantine: int) -> Tensor:
    """Return the weights, summing to 1, of the mean with the least spread.  # [K]"""
    c = torch.ones(len(gram), dtype=torch.float64)
    best, least = c / c.sum(), torch.inf
    while c.sum() > len(gram) - 2 * num_byzantine:
        weights = c / c.sum()
        spread, outlying = _top_direction(gram, weights)
        if spread < least:
            best, least = weights, spread
        if spread <= ROUNDING * (weights @ gram.diagonal()):
            break  # all of the rest are equal
        taken = outlying / outlying.max()
        if c @ taken < LEAST_STEP:
            taken = (outlying / outlying[c > 0].max()).clamp(max=1.0)
        c = c * (1 - taken)
    return best


def _top_direction(gram: Tensor, weights: Tensor) -> tuple[float, Tensor]:
    """Return the covariance's top eigenvalue, and each squared distance from the mean along it.  # [K]"""
    towards = gram @ weights  # [K]
    centred = gram - towards[:, None] - towards[None] + weights @ towards  # (x_i - mu) . (x_j - mu)
    roots = weights.sqrt()
    values, vectors = torch.linalg.eigh(roots[:, None] * centred * roots[None])
    top = float(values[-1])
    along = centred @ (roots * vectors[:, -1])  # times the square root of the eigenvalue
    return top, along.square() / max(top, 1e-300)
