"""Robust learning rate: where too few clients agree on a sign, go the other way.

Source: Ozdayi, Kantarcioglu, Gel. Defending against Backdoors in Federated Learning with Robust Learning
Rate. AAAI 2021, Section 4. arXiv:2007.03767
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..core.contracts import Verdict
from ..core.updates import Updates
from .parts.columns import column_blocks
from .parts.fallback import OnInfeasible, check_robustness, fall_back


@dataclass(frozen=True)
class RLR:
    """Average the updates, and turn the sign of each coordinate in which the clients disagree.

    A coordinate is agreed on if the absolute sum of the clients' signs is at least ``threshold``; a zero
    has no sign. Every client weighs the same, whatever its ``num_examples``.

    Attributes:
        threshold: The paper's theta, in clients, at least 0: of 10 clients it takes 4. 0 is the mean. A
            cohort below it could agree on nothing.
        on_infeasible: What to do with such a cohort: ``"raise"``, or take the ``"mean"`` or ``"median"``.
    """

    threshold: int = 4
    on_infeasible: OnInfeasible = "raise"

    def __post_init__(self) -> None:
        if self.threshold < 0:
            raise ValueError(f"threshold must be at least 0, got {self.threshold}")
        check_robustness(0, self.on_infeasible)

    @property
    def least_cohort(self) -> int:
        """The smallest cohort, if not empty, that does not raise."""
        return max(self.threshold, 1) if self.on_infeasible == "raise" else 1

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        cohort_size = len(updates)
        if cohort_size == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        if cohort_size < self.threshold:
            reason = f"{self.threshold} clients cannot agree in a cohort of {cohort_size}"
            remedy = "lower threshold, raise the cohort"
            return fall_back(self.on_infeasible, updates, reason, remedy), state
        aggregate = torch.empty_like(updates.vectors[0])
        out = aggregate.numpy()
        for columns, block in column_blocks(updates.vectors):
            votes = np.abs((block > 0).sum(axis=0) - (block < 0).sum(axis=0))  # [B]
            mean = block.mean(axis=0, dtype=np.float64)
            out[columns] = np.where(votes >= self.threshold, mean, -mean)
        return Verdict(aggregate), state
