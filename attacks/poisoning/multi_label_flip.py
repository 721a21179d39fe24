"""Multi-label flipping: several classes are taught as one other.

Source: Gupta, Luo, Ngo, Das. Long-Short History of Gradients is All You Need: Detecting Malicious
and Unreliable Clients in Federated Learning. ESORICS 2022. arXiv:2208.10273
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import Goal


@dataclass(frozen=True)
class MultiLabelFlip:
    """Relabel every example of the classes ``sources`` as ``target``.

    Attributes:
        sources: The classes that the model should lose, from 0, at least one.
        target: The class that they should be taken for, from 0, none of them.
    """

    sources: tuple[int, ...] = (1, 2, 3)
    target: int = 7

    tokens: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.sources or min(*self.sources, self.target) < 0:
            raise ValueError(
                f"sources and target must be classes from 0, got {self.sources} and {self.target}"
            )
        if self.target in self.sources:
            raise ValueError(f"target must be none of sources, got {self.target} among {self.sources}")

    def poison(self, x: Tensor, y: Tensor, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        hit = torch.isin(y, torch.tensor(self.sources))
        return x, y.masked_fill(hit, self.target)

    def goal(self, x: Tensor, y: Tensor) -> Goal:
        rows = torch.isin(y, torch.tensor(self.sources))
        return Goal(x[rows], y[rows], torch.full_like(y[rows], self.target))
