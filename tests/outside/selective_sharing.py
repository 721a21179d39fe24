"""Selective sharing: a client lets out a random share of its larger entries, other ones in every round.

Source: Shokri, Shmatikov. Privacy-Preserving Deep Learning. CCS 2015, Section 5.2 (theta_u drawn at random of
the values above tau).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch


@dataclass(frozen=True)
class SelectiveSharing:
    """Set all entries of an update to 0 but a random share of those larger than a threshold.

    Attributes:
        share: theta_u, how likely each of these is let out, above 0 and at most 1.
        threshold: tau, the magnitude that they exceed, in the update's units, at least 0.
    """

    share: float = 0.1
    threshold: float = 0.0

    looks_at_examples: ClassVar[bool] = False
    adaptive: ClassVar[dict] = {"name": "dlg", "masked": True}

    def __post_init__(self):
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share}")
        if not self.threshold >= 0:
            raise ValueError(f"threshold must be at least 0, got {self.threshold}")

    def change(self, update, visit):
        clients, size = update.shape
        draws = np.stack([visit.stream(row).random(size) for row in range(clients)])  # [K, P]
        kept = torch.from_numpy(draws < self.share).to(update.device)
        return update.masked_fill(~kept | (update.abs() <= self.threshold), 0.0)
