"""InstaHide: a client trains on mixtures of its examples, under a random mask of signs.

Source: Huang, Song, Li, Arora. InstaHide: Instance-hiding Schemes for Private Distributed Learning. ICML
2020, Algorithm 1 (inside-dataset), arXiv:2010.02772. Broken by Carlini et al., Is Private Learning Possible
with Instance Encoding? S&P 2021, arXiv:2011.05315, who see many mixtures of one example.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from .parts.mixtures import Array, mixed

_TRIES = 100


@dataclass(frozen=True)
class Instahide:
    """Train, in every round, on mixtures of k of the client's examples, with signs turned at random.

    Weights are drawn evenly of those that sum to 1 and of which none is above ``largest``. After mixing,
    every entry keeps its distance from ``centre`` and changes sides with probability 1/2: values between 0
    and 1 stay there. Labels as with ``mixup``. The model is evaluated on plain examples, where the authors
    mix those, too; mixing with public examples is left out.

    What an attacker makes of it here (``undo``): a value and its mirror image are equally likely, so that the
    lower one is taken, as on dark grounds. The distances from ``centre`` are then those of the mixtures.
    Telling the examples of many rounds apart by them needs what Carlini et al. do, which is not here.

    Attributes:
        k: How many examples are mixed, at least 2.
        largest: The largest weight, above 1/k and at most 1.
        centre: What signs turn around, in units of the inputs; the paper's inputs have mean 0.
    """

    k: int = 4
    largest: float = 0.65
    centre: float = 0.5

    adaptive: ClassVar[Mapping[str, object]] = {"name": "altered_examples"}

    def __post_init__(self) -> None:
        if not isfinite(self.centre):
            raise ValueError(f"centre must be finite, got {self.centre}")
        if self.k < 2:
            raise ValueError(f"k must be at least 2, got {self.k}")
        if not 1 / self.k < self.largest <= 1:
            raise ValueError(
                f"largest must be above 1/k = {1 / self.k:.3g} and at most 1, got {self.largest}"
            )

    def examples(self, x: Tensor, y: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        found, labels = mixed(x, y, self._weights(len(y), generator), generator)
        signs = torch.from_numpy(generator.integers(2, size=tuple(x.shape)) * 2 - 1).to(x)
        return self.centre + signs * (found - self.centre), labels

    def undo(
        self, seen: Sequence[Tensor], _: tuple[float, float], __: np.random.Generator
    ) -> tuple[Tensor, float]:
        return self.centre - (seen[-1] - self.centre).abs(), 0.0

    def _weights(self, size: int, generator: np.random.Generator) -> Array:
        """Return weights [size, k]; what is too large after so many draws is drawn towards 1/k."""
        found: Array = generator.dirichlet([1.0] * self.k, size=size)
        for _ in range(_TRIES):
            wrong = found.max(axis=1) > self.largest
            if not wrong.any():
                return found
            found[wrong] = generator.dirichlet([1.0] * self.k, size=int(wrong.sum()))
        top = found.max(axis=1, keepdims=True)
        pull = np.clip((top - self.largest) / (top - 1 / self.k), 0.0, 1.0)
        found = found * (1 - pull) + pull / self.k
        return found
