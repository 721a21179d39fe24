"""Weighted mean: what a server without a defense does.

Source: McMahan, Moore, Ramage, Hampson, Agueera y Arcas. Communication-Efficient Learning of Deep
Networks from Decentralized Data. AISTATS 2017, Algorithm 1. arXiv:1602.05629
The fixed denominator: McMahan, Ramage, Talwar, Zhang. Learning Differentially Private Recurrent
Language Models. ICLR 2018. arXiv:1710.06963
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..core.contracts import Verdict
from ..core.updates import Updates, weighted_sum
from .parts.absent import over_owners
from .parts.means import weighted_mean
from .parts.memory import stored

WEIGHTINGS = ("num_examples", "uniform", "fixed")


@dataclass(frozen=True)
class Mean:
    """Average the updates, whoever sent them.

    A coordinate that some clients do not have is averaged over those that have it, but for ``"fixed"``, whose
    denominator is the same in all coordinates and depends on nobody. A coordinate beyond the range of the
    updates' type becomes its largest number: no sum of theirs ends a run.

    Attributes:
        weighting: ``"num_examples"``: each client counts as its (claimed) examples. ``"uniform"``:
            each client counts the same. ``"fixed"``: the sum over the public, expected size of a
            cohort, so that one client moves the aggregate by a known amount.
    """

    weighting: Literal["num_examples", "uniform", "fixed"] = "num_examples"

    linear: ClassVar[bool] = True
    individual: ClassVar[bool] = False
    partial: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.weighting not in WEIGHTINGS:
            raise ValueError(f"weighting must be one of {', '.join(WEIGHTINGS)}, got '{self.weighting}'")

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        counts = self.counts(updates.num_examples)
        denominator = self.denominator(counts, updates.expected_size)
        if updates.presence is None:
            return Verdict(weighted_mean(updates.vectors, counts, denominator), counts / denominator), state
        if self.weighting == "fixed":
            return Verdict(weighted_mean(updates.vectors, counts, denominator)), state
        total = weighted_sum(updates.vectors, counts)  # [P]
        return Verdict(stored(over_owners(updates, total, counts), updates.vectors.dtype)), state

    def counts(self, num_examples: Tensor) -> Tensor:
        """Return what each client counts in the sum, float64.  # [K]"""
        if self.weighting == "num_examples":
            return num_examples.to(torch.float64).clamp(min=0)  # a negative claim would flip the sign
        return torch.ones(len(num_examples), dtype=torch.float64)

    def denominator(self, counts: Tensor, expected_size: float) -> float:
        """Return what the sum is divided by, above 0."""
        return (expected_size if self.weighting == "fixed" else float(counts.sum())) or 1.0

    def sensitivity(self, clip_norm: float, expected_size: float) -> float | None:
        """Return by how much one client more or less moves the aggregate, in L2 norm."""
        return clip_norm / expected_size if self.weighting == "fixed" else None


def check_weighting(weighting: str) -> None:
    """Raise ``ValueError`` unless a robust rule can weigh clients like that."""
    if weighting not in ("uniform", "num_examples"):
        raise ValueError(f"weighting must be uniform or num_examples, got '{weighting}'")


def client_shares(updates: Updates, weighting: Literal["uniform", "num_examples"]) -> Tensor:
    """Return each client's share before a robust rule judges it, summing to 1; float64.  # [K]"""
    rule = Mean(weighting)
    counts = rule.counts(updates.num_examples)
    shares = counts / rule.denominator(counts, updates.expected_size)
    return shares if bool(shares.any()) else torch.full_like(shares, 1 / max(len(shares), 1))
