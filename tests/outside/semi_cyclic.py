"""Semi-cyclic participation: the clients of one part of the world at a time, as day and night have it.

Source: Eichner, Koren, McMahan, Srebro, Talwar. Semi-Cyclic Stochastic Gradient Descent. ICML 2019,
Section 2 (blocks of clients that come in turn). arXiv:1904.10120
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from gauntlet.core.contracts import Sampling


@dataclass(frozen=True)
class SemiCyclic:
    """Draw ``cohort_size`` clients without replacement from the block that is awake.

    Client i of N is in block floor(i blocks / N). Block b is awake for ``rounds_awake`` rounds, then block
    b + 1, and after the last the first. Who comes does not depend on anybody's data; nothing is amplified.

    Attributes:
        cohort_size: Clients in a round, at least 1 and at most the smallest block.
        blocks: How many parts the population has, at least 1.
        rounds_awake: Rounds until the next block wakes up, at least 1.
    """

    cohort_size: int
    blocks: int = 2
    rounds_awake: int = 1

    periodic: ClassVar[bool] = True  # a cohort depends on the round

    def __post_init__(self) -> None:
        for name in ("cohort_size", "blocks", "rounds_awake"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def sampling(self, num_clients):
        smallest = num_clients // self.blocks
        if self.cohort_size > smallest:
            raise ValueError(
                f"cohort_size {self.cohort_size} is above the smallest block's {smallest} clients"
            )
        return Sampling("other", num_clients, self.cohort_size / num_clients, float(self.cohort_size))

    def sample(self, num_clients, generator, round_=0):
        self.sampling(num_clients)
        block = round_ // self.rounds_awake % self.blocks
        first, end = (-(-num_clients * b // self.blocks) for b in (block, block + 1))
        fresh = np.random.default_rng([int(generator.integers(2**63)), round_])  # the stream is every round's
        return np.sort(first + fresh.choice(end - first, self.cohort_size, replace=False)).astype(np.int64)
