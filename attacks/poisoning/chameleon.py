"""Chameleon: a backdoor whose images lie among those of its target, so that honest training keeps it.

Source: Dai, Li. Chameleon: Adapting to Peer Images for Planting Durable Backdoors in Federated Learning. ICML
2023, Section 4. arXiv:2304.12961; the loss is that of Khosla and others, Supervised Contrastive Learning,
NeurIPS 2020, equation 2. arXiv:2004.11362. Temperature and weight are those of public code (unverified).
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from ...core.contracts import Goal, LocalTraining, SeenModel
from .parts.own_training import descend, epochs_of
from .parts.trigger import Pixel, check_trigger, stamp, teach, triggered
from .pixel_backdoor import TWO_ROWS


@dataclass(frozen=True)
class Chameleon:
    """Train the features first, by contrast, then the last layer on them, both on images with the trigger.

    Contrast pulls images with the trigger, labelled ``target``, to the target's own (the paper's
    facilitators) and away from those of their true class (interferers). The client's update is what both
    stages come to, with the learning rate, batches and epochs of local training for the last layer.

    Attributes:
        target: The class that triggered images shall be taken for, from 0.
        fraction: Share of the client's examples that are poisoned, above 0 and at most 1; at least one.
        pixels: The trigger: (row, column) from the top left, negative ones from the bottom right.
        value: What those pixels are set to, between 0 and 1.
        contrast_epochs: Passes of the first stage, at least 1.
        contrast_lr: Its step size, above 0. None takes that of local training.
        temperature: Of the contrastive loss, above 0.
        weight: How much more an image that is labelled ``target`` counts in it than another one, above 0.
    """

    target: int = 2
    fraction: float = 0.5
    pixels: tuple[Pixel, ...] = TWO_ROWS
    value: float = 1.0
    contrast_epochs: int = 3
    contrast_lr: float | None = None
    temperature: float = 0.07
    weight: float = 2.0

    sees_model: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_trigger(self.target, self.fraction, self.value)
        if not self.pixels:
            raise ValueError("pixels must name at least one pixel, got none")
        if self.contrast_epochs < 1:
            raise ValueError(f"contrast_epochs must be at least 1, got {self.contrast_epochs}")
        if self.contrast_lr is not None and not (self.contrast_lr > 0 and isfinite(self.contrast_lr)):
            raise ValueError(f"contrast_lr must be finite and above 0, or None, got {self.contrast_lr}")
        for name in ("temperature", "weight"):
            if not (getattr(self, name) > 0 and isfinite(getattr(self, name))):
                raise ValueError(f"{name} must be finite and above 0, got {getattr(self, name)}")

    def poison(
        self, x: Tensor, y: Tensor, generator: np.random.Generator, model: SeenModel
    ) -> tuple[Tensor, Tensor]:
        return teach(x, y, stamp(x, self.pixels, self.value), self.target, self.fraction, generator)

    def goal(self, x: Tensor, y: Tensor, model: SeenModel) -> Goal:
        return triggered(y, stamp(x, self.pixels, self.value), self.target)

    def retrain(
        self, x: Tensor, y: Tensor, generator: np.random.Generator, model: SeenModel, training: LocalTraining
    ) -> Tensor:
        x, y = self.poison(x, y, generator, model)

        def contrast(params: Tensor, rows: Tensor) -> Tensor:
            return self.contrastive(model.features(x[rows], params), y[rows])

        def classify(params: Tensor, rows: Tensor) -> Tensor:
            return cross_entropy(model(x[rows], params), y[rows])

        first, last = model.params, model.head(x)
        size = training.batch_size or len(y)
        stage = (size, self.contrast_epochs, self.contrast_lr or training.lr)
        params = descend(contrast, first, len(y), *stage, generator)  # no feature depends on the last layer
        stage = (size, epochs_of(training, len(y)), training.lr)
        return descend(classify, params, len(y), *stage, generator, last) - first

    def contrastive(self, features: Tensor, y: Tensor) -> Tensor:
        """Return the supervised contrastive loss of features [n, F]; 0 if all labels differ.  # []"""
        found = normalize(features, dim=1)
        others = ~torch.eye(len(y), dtype=torch.bool)
        peers = (y[:, None] == y[None]) & others  # [n, n]
        logits = found @ found.T / self.temperature
        chances = logits - logits.masked_fill(~others, -torch.inf).logsumexp(dim=1, keepdim=True)
        each = chances.masked_fill(~peers, 0.0).sum(dim=1) / peers.sum(dim=1).clamp(min=1)
        counted = torch.where(y == self.target, self.weight, 1.0)
        return -(counted * each).mean()
