"""Everybody takes part in every round."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.contracts import Sampling


@dataclass(frozen=True)
class Full:
    """Take the whole population."""

    def sampling(self, num_clients: int) -> Sampling:
        return Sampling("full", num_clients, 1.0, float(num_clients))

    def sample(self, num_clients: int, generator: np.random.Generator) -> np.ndarray[Any, Any]:
        return np.arange(num_clients, dtype=np.int64)
