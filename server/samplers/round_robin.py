"""Clients take turns: each comes once in a fixed number of rounds.

Source: the participation pattern of Choquette-Choo et al. (Amplified) Banded Matrix Factorization. NeurIPS
2023, Section 2, arXiv:2306.08153 (rounds of one client at least b apart).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...core.contracts import Sampling


@dataclass(frozen=True)
class RoundRobin:
    """Shuffle the clients once into ``period`` groups, and take them in turn, for ever.

    Who comes when does not depend on anybody's data; nothing is amplified. Group sizes differ by at most 1;
    their mean is the public size.

    Attributes:
        period: Rounds until a client comes again, at least 1 and at most the population.
    """

    period: int

    periodic: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.period < 1:
            raise ValueError(f"period must be at least 1, got {self.period}")

    def sampling(self, num_clients: int) -> Sampling:
        """Return how it samples.

        Raises:
            ValueError: There are more groups than clients.
        """
        if self.period > num_clients:
            raise ValueError(f"period {self.period} is longer than the population of {num_clients} clients")
        return Sampling("round_robin", num_clients, 1 / self.period, num_clients / self.period, self.period)

    def sample(
        self, num_clients: int, generator: np.random.Generator, round_: int = 0
    ) -> np.ndarray[Any, Any]:
        self.sampling(num_clients)
        order = generator.permutation(num_clients)
        return np.sort(order[round_ % self.period :: self.period]).astype(np.int64)
