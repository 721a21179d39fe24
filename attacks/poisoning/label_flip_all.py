"""Full label flipping: class y is taught as class C - 1 - y.

Source: Fang, Cao, Jia, Gong. Local Model Poisoning Attacks to Byzantine-Robust Federated Learning.
USENIX Security 2020 (its label-flipping baseline). arXiv:1911.11815
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from ...core.contracts import Goal


@dataclass(frozen=True)
class LabelFlipAll:
    """Mirror every label: y becomes C - 1 - y. Twice is the identity.

    Attributes:
        num_classes: C, the classes of the task, at least 2.
    """

    num_classes: int

    tokens: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, got {self.num_classes}")

    def poison(self, x: Tensor, y: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        if len(y) and int(y.max()) >= self.num_classes:
            raise ValueError(f"labels must be below num_classes = {self.num_classes}, got {int(y.max())}")
        return x, self.num_classes - 1 - y

    def goal(self, x: Tensor, y: Tensor) -> Goal:
        rows = y != self.num_classes - 1 - y  # the middle one of an odd number of classes stays
        return Goal(x[rows], y[rows], self.num_classes - 1 - y[rows])
