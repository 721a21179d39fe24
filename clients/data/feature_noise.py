"""Deal examples out at random, and give every client noisier inputs than the one before.

Source: Li, Diao, Chen, He. Federated Learning on Non-IID Data Silos: An Experimental Study. ICDE 2022
("noise-based feature imbalance"). arXiv:2102.02079
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .base import Array
from .iid import Iid


@dataclass(frozen=True)
class FeatureNoise:
    """Deal as ``iid``; client i of N adds Gaussian noise to its inputs, of std sigma i / (N - 1).

    The test set has none. Nothing is cut off: inputs leave the range of the data set. It is the standard
    deviation that grows linearly, from exactly 0 to sigma.

    Attributes:
        sigma: The standard deviation of the last client's noise, in units of the inputs (pixels from 0 to 1),
            at least 0.
    """

    sigma: float = 0.1

    complete: ClassVar[bool] = True
    label_free: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < np.inf:
            raise ValueError(f"sigma must be at least 0 and finite, got {self.sigma}")

    def split(self, y: Array, groups: Array | None, num_clients: int, seed: int) -> list[Array]:
        return Iid().split(y, groups, num_clients, seed)

    def alter(self, x: Array, client_id: int, num_clients: int, generator: np.random.Generator) -> Array:
        std = self.sigma * client_id / max(num_clients - 1, 1)
        return x + np.float32(std) * generator.standard_normal(x.shape, dtype=np.float32)
