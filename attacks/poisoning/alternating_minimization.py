"""Alternating minimisation: train for looking harmless and for the attack in turns, and boost the attack.

Source: Bhagoji, Chakraborty, Mittal, Calo. Analyzing Federated Learning through an Adversarial Lens. ICML
2019, Section 3.4 (alternating minimization). arXiv:1811.12470. The paper bounds the distance to the honest
clients' last mean update, and targets a few images of the test set; here the distance is to the received
model, and the attack is on all images of a class.
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ...core.contracts import Goal, LocalTraining, SeenModel
from .parts.own_training import descend, epochs_of, step


@dataclass(frozen=True)
class AlternatingMin:
    """In each pass, train on the own examples, then ``boost`` steps that teach ``source`` as ``target``.

    What a client sends is the sum of both. A client without examples of ``source`` trains honestly, but for
    the distance. ``poison`` leaves its examples as they are.

    Attributes:
        source: The class that the model should lose, from 0 (the paper's 5, a sandal).
        target: The class that it should be taken for, from 0, another one (the paper's 7, a sneaker).
        boost: What a step of the attack is multiplied with, above 0 (the paper's lambda).
        malicious_steps: Such steps after each pass, at least 1. None is made while all those examples are
            already taken for ``target``.
        distance: Weight of the squared distance to the received model in the other steps, at least 0 (the
            paper's rho).
    """

    source: int = 5
    target: int = 7
    boost: float = 10.0
    malicious_steps: int = 1
    distance: float = 1e-4

    sees_model: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.source < 0 or self.target < 0 or self.source == self.target:
            raise ValueError(
                f"source and target must be two different classes from 0, got {self.source} and {self.target}"
            )
        if not (self.boost > 0 and isfinite(self.boost)):
            raise ValueError(f"boost must be finite and above 0, got {self.boost}")
        if self.malicious_steps < 1:
            raise ValueError(f"malicious_steps must be at least 1, got {self.malicious_steps}")
        if not (self.distance >= 0 and isfinite(self.distance)):
            raise ValueError(f"distance must be finite and at least 0, got {self.distance}")

    @property
    def sources(self) -> tuple[int]:
        return (self.source,)

    def poison(
        self, x: Tensor, y: Tensor, generator: np.random.Generator, model: SeenModel
    ) -> tuple[Tensor, Tensor]:
        return x, y.masked_fill(y == self.source, self.target)

    def goal(self, x: Tensor, y: Tensor, model: SeenModel) -> Goal:
        rows = y == self.source
        return Goal(x[rows], y[rows], torch.full_like(y[rows], self.target))

    def retrain(
        self, x: Tensor, y: Tensor, generator: np.random.Generator, model: SeenModel, training: LocalTraining
    ) -> Tensor:
        first = model.params
        bad, lie = x[y == self.source], torch.full_like(y[y == self.source], self.target)

        def harmless(params: Tensor, rows: Tensor) -> Tensor:
            far = (params - first).square().sum()
            return cross_entropy(model(x[rows], params), y[rows]) + self.distance * far

        def harmful(params: Tensor, rows: Tensor) -> Tensor:
            return cross_entropy(model(bad[rows], params), lie[rows])

        params, everyone = first, torch.arange(len(bad))
        size = training.batch_size or len(y)
        for _ in range(epochs_of(training, len(y))):
            params = descend(harmless, params, len(y), size, 1, training.lr, generator)
            for _ in range(self.malicious_steps if len(bad) else 0):
                if bool((model(bad, params).argmax(dim=1) == lie).all()):
                    break
                params = step(harmful, params, everyone, self.boost * training.lr)
        return params - first
