"""Label flipping: one class is taught as another.

Source: Tolpegin, Truex, Gursoy, Liu. Data Poisoning Attacks Against Federated Learning Systems.
ESORICS 2020. arXiv:2007.08432
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import Goal


@dataclass(frozen=True)
class LabelFlip:
    """Relabel every example of class ``source`` as ``target``.

    Attributes:
        source: The class that the model should lose, from 0.
        target: The class that it should be taken for, from 0, another one.
    """

    source: int = 1
    target: int = 7

    tokens: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.source < 0 or self.target < 0 or self.source == self.target:
            raise ValueError(
                f"source and target must be two different classes from 0, got {self.source} and {self.target}"
            )

    @property
    def sources(self) -> tuple[int]:
        return (self.source,)

    def poison(self, x: Tensor, y: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        return x, y.masked_fill(y == self.source, self.target)

    def goal(self, x: Tensor, y: Tensor) -> Goal:
        rows = y == self.source
        return Goal(x[rows], y[rows], torch.full_like(y[rows], self.target))
