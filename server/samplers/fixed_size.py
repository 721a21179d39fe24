"""A cohort of fixed size, drawn without replacement.

Source: McMahan, Moore, Ramage, Hampson, Agüera y Arcas. Communication-Efficient Learning of Deep
Networks from Decentralized Data. AISTATS 2017, Algorithm 1. arXiv:1602.05629
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.contracts import Sampling


@dataclass(frozen=True)
class FixedSize:
    """Draw ``cohort_size`` clients, every such set being equally likely, afresh each round.

    Memory and time follow the cohort, not the population.

    Attributes:
        cohort_size: Clients in a round, at least 1 and at most the population.
    """

    cohort_size: int

    def __post_init__(self) -> None:
        if self.cohort_size < 1:
            raise ValueError(f"cohort_size must be at least 1, got {self.cohort_size}")

    def sampling(self, num_clients: int) -> Sampling:
        """Return how it samples.

        Raises:
            ValueError: The cohort is larger than the population.
        """
        size = self.cohort_size
        if size > num_clients:
            raise ValueError(f"cohort_size {size} is larger than the population of {num_clients} clients")
        return Sampling("fixed_size", num_clients, size / num_clients, float(size))

    def sample(self, num_clients: int, generator: np.random.Generator) -> np.ndarray[Any, Any]:
        self.sampling(num_clients)
        cohort = generator.choice(num_clients, self.cohort_size, replace=False, shuffle=False)
        return np.sort(cohort).astype(np.int64)
