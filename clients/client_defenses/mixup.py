"""Mixup: a client trains on mixtures of its examples.

Source: Zhang, Cisse, Dauphin, Lopez-Paz. mixup: Beyond Empirical Risk Minimization. ICLR 2018,
arXiv:1710.09412; as a defense: Huang, Gupta, Song, Li, Arora. Evaluating Gradient Inversion Attacks and
Defenses in Federated Learning. NeurIPS 2021, Section 3, arXiv:2112.00059.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import numpy as np
from torch import Tensor

from .parts.mixtures import mixed
from .parts.unmixing import unmixed


@dataclass(frozen=True)
class Mixup:
    """Train, in every round, on as many mixtures of k examples of the client's own, drawn anew.

    An example is mixed with k - 1 others of the client, with weights drawn from a symmetric Dirichlet
    distribution: of two, lambda is drawn from Beta(alpha, alpha). A client of one example mixes it with
    itself.

    Labels stay classes: a mixture has the label of one of its examples, drawn with their weights. The loss is
    linear in the label, so that its expectation is that of the mixed label (our choice).

    A mixture shows each example in part: an attack rebuilds what the client trained on, the mixtures. Those
    of two rounds or more of the same examples lie in the convex hull of these, whose corners can be found.

    Attributes:
        k: How many examples are mixed, at least 2.
        alpha: Concentration of the weights, above 0; 1 draws them evenly.
    """

    k: int = 2
    alpha: float = 1.0

    adaptive: ClassVar[Mapping[str, object]] = {"name": "altered_examples"}

    def __post_init__(self) -> None:
        if self.k < 2:
            raise ValueError(f"k must be at least 2, got {self.k}")
        if not (self.alpha > 0 and isfinite(self.alpha)):
            raise ValueError(f"alpha must be above 0 and finite, got {self.alpha}")

    def examples(self, x: Tensor, y: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        weights = generator.dirichlet([self.alpha] * self.k, size=len(y))  # [B, k]
        return mixed(x, y, weights, generator)

    def undo(
        self, seen: Sequence[Tensor], value_range: tuple[float, float], generator: np.random.Generator
    ) -> tuple[Tensor, float]:
        return unmixed(seen, self.k, value_range, generator)
