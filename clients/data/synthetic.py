"""A population of any size whose clients are made when they are asked for.

Class-conditional Gaussians, the same for all clients; each client has its own mix of classes, drawn from a
Dirichlet distribution (label skew as in Hsu, Qi, Brown 2019, arXiv:1909.06335), and if wanted its own shift
of the inputs and its own size. Nothing in memory grows with the number of clients.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.errors import DataError
from ...core.seeds import generator
from .base import Array, FederatedData, check_client

MAX_COUNTED = 10_000
TAIL = 6.0  # inputs are cut off this many standard deviations beyond the means


@dataclass(frozen=True)
class SyntheticPopulation:
    """What the clients of a synthetic population have in common.

    Attributes:
        num_features: Features of an example, at least 1.
        num_classes: C, at least 2.
        examples_per_client: Examples each client holds (the median, with ``size_sigma``), at least 1.
        alpha: Concentration of a client's mix of classes, at least 0.001: 0.1 is one or two classes, 100
            nearly all alike.
        separation: Distance of each class mean from the origin, in standard deviations of a class; 0 or
            more.
        shift_std: Standard deviation of each feature's shift at a client, in the same unit, at least 0.
        size_sigma: Standard deviation of the log of clients' sizes, between 0 and 3; 0 makes all alike.
        num_test: Test examples, classes alike and without shift, at least 1.
    """

    num_features: int = 20
    num_classes: int = 10
    examples_per_client: int = 50
    alpha: float = 0.5
    separation: float = 3.0
    shift_std: float = 0.0
    size_sigma: float = 0.0
    num_test: int = 2000

    def __post_init__(self) -> None:
        least = {"num_features": 1, "num_classes": 2, "examples_per_client": 1, "num_test": 1}
        for name, bound in (least | {"alpha": 0.001, "separation": 0, "shift_std": 0}).items():
            if not bound <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be at least {bound} and finite, got {getattr(self, name)}")
        if not 0 <= self.size_sigma <= 3:
            raise ValueError(f"size_sigma must be in [0, 3], got {self.size_sigma}")

    def populate(self, num_clients: int, seed: int) -> FederatedData:
        """Return the clients 0 ... num_clients - 1. Client i is the same in a larger population."""
        directions = generator(seed, "synthetic means").standard_normal((self.num_classes, self.num_features))
        means = self.separation * directions / np.linalg.norm(directions, axis=1, keepdims=True)
        return SyntheticClients(self, num_clients, seed, means)


@dataclass(frozen=True, eq=False)
class SyntheticClients:
    """A synthetic population, as ``FederatedData``.

    Attributes:
        population: The options.
        num_clients: N.
        seed: The run's seed.
        means: The class means.  # [C, features]
    """

    population: SyntheticPopulation
    num_clients: int
    seed: int
    means: Array

    name: ClassVar[str] = "synthetic"
    mean: ClassVar[tuple[float, ...]] = ()
    std: ClassVar[tuple[float, ...]] = ()

    @property
    def num_classes(self) -> int:
        return self.population.num_classes

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.population.num_features,)

    @property
    def value_range(self) -> tuple[float, float]:
        bound = self.population.separation + TAIL * (1 + self.population.shift_std)
        return -bound, bound

    def num_examples(self, client_id: int) -> int:
        check_client(client_id, self.num_clients)
        spread = self.population.size_sigma
        if spread == 0:
            return self.population.examples_per_client
        factor = np.exp(spread * generator(self.seed, "synthetic size", client_id).standard_normal())
        return max(1, round(self.population.examples_per_client * float(factor)))

    def client(self, client_id: int) -> tuple[Tensor, Tensor]:
        rng, y = self._labels(client_id)
        shift = self.population.shift_std * rng.standard_normal(self.means.shape[1])
        return self._inputs(y, shift, rng), torch.from_numpy(y)

    def test(self) -> tuple[Tensor, Tensor]:
        rng = generator(self.seed, "synthetic test")
        y = rng.integers(self.num_classes, size=self.population.num_test)
        return self._inputs(y, np.zeros(self.means.shape[1]), rng), torch.from_numpy(y)

    def label_counts(self) -> Array:
        if self.num_clients > MAX_COUNTED:
            raise DataError(
                f"synthetic: labels of {self.num_clients} clients are not counted, at most {MAX_COUNTED} are"
            )
        labels = (self._labels(i)[1] for i in range(self.num_clients))
        return np.stack([np.bincount(y, minlength=self.num_classes) for y in labels])

    def _labels(self, client_id: int) -> tuple[np.random.Generator, Array]:
        """Return the client's stream after its labels were drawn from it, and the labels [n]."""
        size = self.num_examples(client_id)
        rng = generator(self.seed, "synthetic", client_id)
        prior = rng.dirichlet(np.full(self.num_classes, self.population.alpha))  # [C]
        return rng, rng.choice(self.num_classes, size, p=prior)

    def _inputs(self, y: Array, shift: Array, rng: np.random.Generator) -> Tensor:
        x = self.means[y] + shift + rng.standard_normal((len(y), self.means.shape[1]))
        return torch.from_numpy(x.clip(*self.value_range).astype(np.float32))
