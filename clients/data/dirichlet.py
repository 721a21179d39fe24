"""Skew the labels: each class is spread over the clients by a Dirichlet draw.

Source: Hsu, Qi, Brown. Measuring the Effects of Non-Identical Data Distribution for Federated Visual
Classification. 2019. arXiv:1909.06335 (the idea); Yurochkin et al. Bayesian Nonparametric Federated Learning
of Neural Networks. ICML 2019. arXiv:1905.12022 (the class-wise rule); Li et al. Federated Learning on
Non-IID Data Silos. ICDE 2022. arXiv:2102.02079 (the balanced form, in the code).

flwr-datasets' ``DirichletPartitioner`` deals by the same rule, and for the same seed the same sizes, but
gives up after ten redraws with a warning each, and loops over examples in Python. So the rule stands here,
and that partitioner is the oracle of its test.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.seeds import generator
from .assignment import check_enough, rows_of
from .base import Array
from .flower import flower_seed

MAX_DRAWS = 1000


@dataclass(frozen=True)
class Dirichlet:
    """For each class draw p ~ Dir(alpha), one share a client, and cut the class there.

    The cuts are ``int(cumsum(p) * count)``. All is drawn again until every client holds ``min_size``
    examples. Only these draws use ``numpy.random.default_rng(seed)``; another stream shuffles the
    members of a class.

    Attributes:
        alpha: Concentration, at least 0.001. Small means skewed: 0.1 leaves a client one or two classes, 100
            is nearly IID.
        min_size: Examples that every client must hold, at least 1.
        balanced: Whether a client that already holds more than n / N examples gets none of the further
            classes. NIID-Bench, FedLab and others do so; it changes the skew strongly.
    """

    alpha: float = 0.5
    min_size: int = 10
    balanced: bool = False

    complete: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0.001 <= self.alpha < np.inf:
            raise ValueError(f"alpha must be at least 0.001 and finite, got {self.alpha}")
        if self.min_size < 1:
            raise ValueError(f"min_size must be at least 1, got {self.min_size}")

    def split(self, y: Array, groups: Array | None, num_clients: int, seed: int) -> list[Array]:
        check_enough(len(y), num_clients, self.min_size)
        classes, counts = np.unique(y, return_counts=True)
        shares = self._shares(counts, num_clients, np.random.default_rng(flower_seed(seed)))  # [classes, N]
        shuffle = generator(seed, "partition rows")
        owner = np.empty(len(y), dtype=np.int64)
        for label, share in zip(classes, shares, strict=True):
            members = shuffle.permutation(np.flatnonzero(y == label))
            owner[members] = np.repeat(np.arange(num_clients), share)
        return rows_of(owner, num_clients)

    def _shares(self, counts: Array, num_clients: int, rng: np.random.Generator) -> Array:
        """Return how many examples of each class each client gets.  # [classes, N]"""
        for _ in range(MAX_DRAWS):
            shares = self._draw(counts, num_clients, rng)
            if shares is not None and shares.sum(axis=0).min() >= self.min_size:
                return shares
        raise ValueError(
            f"{MAX_DRAWS} Dirichlet draws with alpha = {self.alpha} never gave each of {num_clients} clients "
            f"min_size = {self.min_size} of {counts.sum()} examples; raise alpha or lower min_size"
        )

    def _draw(self, counts: Array, num_clients: int, rng: np.random.Generator) -> Array | None:
        """Return one draw, or None where the balanced form has nobody left to give to."""
        shares = np.zeros((len(counts), num_clients), dtype=np.int64)
        fair = counts.sum() / num_clients
        for row, count in enumerate(counts):
            p = rng.dirichlet(np.full(num_clients, self.alpha))  # [N]
            if self.balanced:
                p = np.where(shares.sum(axis=0) > fair, 0.0, p)
                if not p.sum() > 0:
                    return None
                p = p / p.sum()
            cuts = (np.cumsum(p) * count).astype(np.int64)
            cuts[-1] = count
            shares[row] = np.diff(cuts, prepend=0)
        return shares
