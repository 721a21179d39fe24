"""Label swap: two classes are taught as each other.

Source: the released code of Gupta, Luo, Ngo, Das. Long-Short History of Gradients is All You Need: Detecting
Malicious and Unreliable Clients in Federated Learning. ESORICS 2022. arXiv:2208.10273 (0 and 1; it is in no
experiment of the paper)
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from ...core.contracts import Goal


@dataclass(frozen=True)
class LabelSwap:
    """Relabel every example of class ``first`` as ``second``, and every one of ``second`` as ``first``.

    How many examples each class has among all clients hardly changes, and so does what the model answers most
    often.

    Attributes:
        first: One of the classes, from 0.
        second: The other one, from 0.
    """

    first: int = 0
    second: int = 1

    tokens: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.first < 0 or self.second < 0 or self.first == self.second:
            raise ValueError(
                f"first and second must be two different classes from 0, got {self.first} and {self.second}"
            )

    @property
    def sources(self) -> tuple[int, int]:
        return self.first, self.second

    def poison(self, x: Tensor, y: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        return x, self._swapped(y)

    def goal(self, x: Tensor, y: Tensor) -> Goal:
        rows = (y == self.first) | (y == self.second)
        return Goal(x[rows], y[rows], self._swapped(y[rows]))

    def _swapped(self, y: Tensor) -> Tensor:
        return y.masked_fill(y == self.first, self.second).masked_fill(y == self.second, self.first)
