"""Gradient pruning: let out only the largest entries of an update.

Source: Zhu, Liu, Han. Deep Leakage from Gradients. NeurIPS 2019, Section 5.2 (gradient sparsification),
arXiv:1906.08935; Huang, Gupta, Song, Li, Arora. Evaluating Gradient Inversion Attacks and Defenses in
Federated Learning. NeurIPS 2021, arXiv:2112.00059.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from ...core.contracts import BlockVisit


@dataclass(frozen=True)
class GradientPruning:
    """Set the entries of smallest magnitude to 0, in every update.

    Of n entries floor(rate * n) are taken away; of several of one magnitude at the border none is. NaN and
    infinity stay. Where the zeros are tells an attacker what was taken away: match the other entries alone.

    Attributes:
        rate: p, the share of the entries that become 0, at least 0 and below 1. Published: at 0.2 to 0.3
            plain DLG fails (unverified); attacks that mask the zeros get through far larger ones.
        per: Whether the share is one of every tensor ("tensor", as in the published code), or of the whole
            update ("update").
    """

    rate: float = 0.9
    per: Literal["tensor", "update"] = "tensor"

    looks_at_examples: ClassVar[bool] = False
    adaptive: ClassVar[Mapping[str, object]] = {"name": "dlg", "masked": True}

    @property
    def passive(self) -> bool:
        """Whether nothing is taken away."""
        return self.rate == 0

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ValueError(f"rate must be at least 0 and below 1, got {self.rate}")
        if self.per not in ("tensor", "update"):
            raise ValueError(f"per must be tensor or update, got '{self.per}'")

    def change(self, update: Tensor, visit: BlockVisit) -> Tensor:
        found = update.clone()
        slots = visit.layout.parameters
        parts = [slice(s.start, s.start + s.size) for s in slots] if self.per == "tensor" else [slice(None)]
        for part in parts:
            self._prune(found[:, part])
        return found

    def _prune(self, entries: Tensor) -> None:
        """Set the smallest of each row's entries [K, n] to 0, in place."""
        gone = int(self.rate * entries.shape[1] + 1e-9)
        if gone:
            sizes = entries.abs()
            border = sizes.kthvalue(gone + 1, dim=1, keepdim=True).values  # [K, 1]
            entries.masked_fill_(sizes < border, 0.0)
