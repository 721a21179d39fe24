"""Skew the labels as MUD-HoG's authors did, to the very example.

Source: Gupta, Luo, Ngo, Das. Long-Short History of Gradients is All You Need: Detecting Malicious and
Unreliable Clients in Federated Learning. ESORICS 2022, Section 5.1, and the authors' code. arXiv:2208.10273
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .assignment import check_enough, rows_of
from .base import Array


@dataclass(frozen=True)
class DirichletClass:
    """For each class shuffle its examples, draw p ~ Dir(alpha), and draw an owner for each example from p.

    The authors fix the seed apart from the run's, so that each attacker always holds the same data; so do we.
    The old NumPy generator is part of the rule.

    Attributes:
        alpha: Concentration, at least 0.001.
        partition_seed: Seed of the legacy NumPy generator, between 0 and 2^32 - 1. The run's seed is not
            used.
    """

    alpha: float = 0.9
    partition_seed: int = 1

    complete: ClassVar[bool] = True
    seeded: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0.001 <= self.alpha < np.inf:
            raise ValueError(f"alpha must be at least 0.001 and finite, got {self.alpha}")
        if not 0 <= self.partition_seed < 2**32:
            raise ValueError(f"partition_seed must be in [0, 2^32 - 1], got {self.partition_seed}")

    def split(self, y: Array, groups: Array | None, num_clients: int, seed: int) -> list[Array]:
        check_enough(len(y), num_clients)
        rng = np.random.RandomState(self.partition_seed)
        owner = np.empty(len(y), dtype=np.int64)
        for label in np.unique(y):
            members = np.flatnonzero(y == label)
            rng.shuffle(members)
            p = rng.dirichlet(np.full(num_clients, self.alpha))  # [N]
            if not np.isfinite(p).all():
                raise ValueError(f"alpha = {self.alpha} underflows in this old generator; take a larger one")
            owner[members] = rng.choice(num_clients, len(members), p=p)
        return rows_of(owner, num_clients)
