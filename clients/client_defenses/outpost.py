"""OUTPOST: now and then, prune an update and noise those of its entries that tell most.

Source: Wang, Hugh, Li. More than Enough is Too Much: Adaptive Defenses against Gradient Leakage in Production
Federated Learning. INFOCOM 2023, and the authors' code in the Plato framework. That code computes what is let
out and returns what came; this does not. The paper itself was not read: what stands here follows the code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import BlockVisit
from .parts.noise import Array, drawn


@dataclass(frozen=True)
class Outpost:
    """With a probability that falls over the rounds, set small entries to 0 and noise the largest ones.

    A tensor's risk is the variance of what the client received there, at most 1. In round t a client acts
    with probability 1 / (1 + decay t): of every tensor the share ``rate`` of smallest magnitude becomes 0,
    and to the share ``noised`` of the update's entries of largest square (their empirical Fisher information)
    it adds N(0, (noise_base risk)^2). Otherwise the update is let out as it is. A row that is not finite
    stays.

    Reconstructions: t counts rounds, where the paper's counts a client's iterations; the Fisher information
    is of single entries, where the authors' code averages it over each tensor's first dimension.

    No differential privacy: nothing bounds what one client changes.

    Attributes:
        decay: The paper's beta, at least 0.
        rate: The share of every tensor that becomes 0, at least 0 and below 1.
        noised: The paper's phi, the share of the update's entries that are noised, between 0 and 1.
        noise_base: Noise at a risk of 1, in the update's units, at least 0. The authors' 0.8 is of gradients:
            of an update of one step of SGD, lr times that.
    """

    decay: float = 0.125
    rate: float = 0.8
    noised: float = 0.4
    noise_base: float = 0.8

    looks_at_examples: ClassVar[bool] = False
    adaptive: ClassVar[tuple[Mapping[str, object], ...]] = (
        {"name": "bayes", "likelihood": "laplace", "masked": True},
        {"name": "bias_trick"},
    )

    def __post_init__(self) -> None:
        if not (self.decay >= 0 and isfinite(self.decay)):
            raise ValueError(f"decay must be at least 0 and finite, got {self.decay}")
        if not 0 <= self.rate < 1:
            raise ValueError(f"rate must be at least 0 and below 1, got {self.rate}")
        if not 0 <= self.noised <= 1:
            raise ValueError(f"noised must be between 0 and 1, got {self.noised}")
        if not (self.noise_base >= 0 and isfinite(self.noise_base)):
            raise ValueError(f"noise_base must be at least 0 and finite, got {self.noise_base}")

    @property
    def passive(self) -> bool:
        """Whether nothing is taken away and nothing added."""
        return self.rate == 0 and (self.noised == 0 or self.noise_base == 0)

    def change(self, update: Tensor, visit: BlockVisit) -> Tensor:
        chance = 1 / (1 + self.decay * visit.round)
        acts = [visit.stream(row).random() < chance for row in range(len(update))]
        finite = update.isfinite().all(dim=1)
        acting = torch.tensor(acts, device=update.device) & finite  # [K]
        found = self._pruned(update, visit) + self._noise(update, visit)
        return found.where(acting[:, None], update)

    def _pruned(self, update: Tensor, visit: BlockVisit) -> Tensor:
        found = update.clone()
        for slot in visit.layout.parameters:
            entries = found[:, slot.start : slot.start + slot.size]
            if gone := int(self.rate * slot.size + 1e-9):
                border = entries.abs().kthvalue(gone + 1, dim=1, keepdim=True).values  # [K, 1]
                entries.masked_fill_(entries.abs() < border, 0.0)
        return found

    def _noise(self, update: Tensor, visit: BlockVisit) -> Tensor:
        """Return what is added.  # [K, P]"""
        size = update.shape[1]
        count = int(self.noised * size + 1e-9)
        if not count:
            return torch.zeros_like(update)
        border = update.abs().kthvalue(size - count + 1, dim=1, keepdim=True).values  # [K, 1]
        stds = torch.empty(size, device=update.device)
        for slot in visit.layout.parameters:
            part = slice(slot.start, slot.start + slot.size)
            received = visit.received[part]
            stds[part] = received.var(correction=0).clamp(max=1.0) * self.noise_base
        noise = drawn(visit, update, _after_the_choice) * stds
        return noise.where(update.abs() >= border, 0.0)


def _after_the_choice(stream: np.random.Generator, size: int) -> Array:
    """Return draws of N(0, 1) behind the number that decides whether the client acts.  # [size]"""
    stream.random()
    return stream.standard_normal(size)
