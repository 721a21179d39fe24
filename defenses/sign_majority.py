"""Sign majority: each coordinate moves the way in which most clients want it to.

Source: Bernstein, Zhao, Azizzadenesheli, Anandkumar. signSGD with Majority Vote is Communication Efficient
and Fault Tolerant. ICLR 2019, Algorithm 1. arXiv:1810.05291 (``magnitude = "constant"``). The mean of the
values that have the elected sign is the merge of Yadav, Tam, Choshen, Raffel, Bansal. TIES-Merging. NeurIPS
2023, Section 3. arXiv:2306.01708, where mass elects; its use here is this package's choice.
"""

from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np
import torch

from ..core.contracts import Verdict
from ..core.updates import Updates
from .parts.columns import column_blocks


@dataclass(frozen=True)
class SignMajority:
    """Elect each coordinate's sign by head count, and move it by one magnitude.

    A client votes with the sign of its coordinate; a zero does not vote, and on a tie the coordinate stays.
    Scores are the share of a client's votes that are won. Nobody is flagged.

    Less than half of the clients never turn a sign on which all others agree. Where honest clients disagree
    few attackers decide, and a backdoor lives in coordinates that honest clients hardly move.

    Attributes:
        magnitude: ``"agreeing"``: the mean of those that voted for it. ``"constant"``: ``step``.
        step: How far a coordinate moves with ``"constant"``, in the update's units, above 0.
    """

    magnitude: Literal["agreeing", "constant"] = "agreeing"
    step: float = 0.01

    def __post_init__(self) -> None:
        if self.magnitude not in ("agreeing", "constant"):
            raise ValueError(f"magnitude must be agreeing or constant, got '{self.magnitude}'")
        if not 0 < self.step < inf:
            raise ValueError(f"step must be above 0 and finite, got {self.step}")

    @property
    def exempt(self) -> tuple[str, ...]:
        """A constant step is not the update that all clients sent."""
        return ("equal_updates_come_back_unchanged",) if self.magnitude == "constant" else ()

    def init(self) -> None:
        return None

    def aggregate(self, updates: Updates, state: None) -> tuple[Verdict, None]:
        if len(updates) == 0:
            return Verdict(updates.vectors.sum(dim=0)), state
        aggregate = torch.empty_like(updates.vectors[0])
        out, won, votes = aggregate.numpy(), *np.zeros((2, len(updates)))
        for columns, block in column_blocks(updates.vectors):
            signs = np.sign(block)
            elected = np.sign(signs.sum(axis=0))  # [B]
            wins = (signs == elected) & (signs != 0)
            won += wins.sum(axis=1)
            votes += (signs != 0).sum(axis=1)
            if self.magnitude == "constant":
                out[columns] = self.step * elected
            else:
                total = np.where(wins, block, 0).sum(axis=0, dtype=np.float64)
                out[columns] = total / np.maximum(wins.sum(axis=0), 1)
        shares = (won / np.maximum(votes, 1)).tolist()
        return Verdict(aggregate, scores=dict(zip(updates.client_ids.tolist(), shares, strict=True))), state
