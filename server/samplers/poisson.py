"""Poisson sampling: every client tosses its own coin.

Source: Mironov, Talwar, Zhang. Rényi Differential Privacy of the Sampled Gaussian Mechanism. 2019,
Section 3. arXiv:1908.10530
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.contracts import Sampling


@dataclass(frozen=True)
class Poisson:
    """Take each client with probability ``sample_rate``, independently; a cohort may be empty.

    N coins are not tossed. A set S of size m has probability q^m (1-q)^(N-m), which is
    Binomial(N, q)(m) times 1 / C(N, m): so the size is drawn from the binomial, and then a set of that
    size, each equally likely. Memory and time follow the cohort, not the population.

    Attributes:
        sample_rate: Probability of a client in a round (q), above 0 and at most 1.
    """

    sample_rate: float

    def __post_init__(self) -> None:
        if not 0 < self.sample_rate <= 1:
            raise ValueError(f"sample_rate must be above 0 and at most 1, got {self.sample_rate}")

    def sampling(self, num_clients: int) -> Sampling:
        return Sampling("poisson", num_clients, self.sample_rate, self.sample_rate * num_clients)

    def sample(self, num_clients: int, generator: np.random.Generator) -> np.ndarray[Any, Any]:
        size = generator.binomial(num_clients, self.sample_rate)
        cohort = generator.choice(num_clients, size, replace=False, shuffle=False)
        return np.sort(cohort).astype(np.int64)
