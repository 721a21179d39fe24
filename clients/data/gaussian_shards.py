"""Shards of Gaussian points around means that lie far apart: the toy on which samplers must be exact.

Source: the setting of the Gaussian example in el Mekkaoui, Mesquita, Blomstedt, Kaski. Federated Stochastic
Gradient Langevin Dynamics. UAI 2021, arXiv:2004.11231, with our own sizes.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.seeds import generator
from .base import Array, FederatedData, check_client

TAIL = 6.0  # points are cut off this many standard deviations beyond their mean


@dataclass(frozen=True)
class GaussianShards:
    """Clients with points of unit variance around a mean of their own; all labels are 0 (of 2 classes).

    With model ``gaussian_mean`` and a flat prior the posterior is N(mean of all points, 1 / their number).

    Attributes:
        points_per_client: Points of each client, at least 1.
        num_features: Coordinates of a point, at least 1.
        radius: Means are uniform in [-radius, radius] in every coordinate, at least 0.
    """

    points_per_client: int = 200
    num_features: int = 2
    radius: float = 6.0

    def __post_init__(self) -> None:
        for name, least in (("points_per_client", 1), ("num_features", 1), ("radius", 0)):
            if not least <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be at least {least} and finite, got {getattr(self, name)}")

    def populate(self, num_clients: int, seed: int) -> FederatedData:
        """Return the clients 0 ... num_clients - 1. Client i is the same in a larger population."""
        return GaussianClients(self, num_clients, seed)


@dataclass(frozen=True, eq=False)
class GaussianClients:
    """A population of shards, as ``FederatedData``; the test points are one more shard for every client.

    Attributes:
        shards: The options.
        num_clients: N.
        seed: The run's seed.
    """

    shards: GaussianShards
    num_clients: int
    seed: int

    name: ClassVar[str] = "gaussian_shards"
    num_classes: ClassVar[int] = 2
    mean: ClassVar[tuple[float, ...]] = ()
    std: ClassVar[tuple[float, ...]] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.shards.num_features,)

    @property
    def value_range(self) -> tuple[float, float]:
        bound = self.shards.radius + TAIL
        return -bound, bound

    def num_examples(self, client_id: int) -> int:
        check_client(client_id, self.num_clients)
        return self.shards.points_per_client

    def client(self, client_id: int) -> tuple[Tensor, Tensor]:
        check_client(client_id, self.num_clients)
        return self._points(client_id, "gaussian points", self.shards.points_per_client)

    def test(self) -> tuple[Tensor, Tensor]:
        some = max(1, self.shards.points_per_client // 10)
        parts = [self._points(i, "gaussian test points", some) for i in range(min(self.num_clients, 100))]
        return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])

    def label_counts(self) -> Array:
        counts = np.zeros((self.num_clients, self.num_classes), dtype=np.int64)
        counts[:, 0] = self.shards.points_per_client
        return counts

    def _points(self, client_id: int, purpose: str, count: int) -> tuple[Tensor, Tensor]:
        size, radius = self.shards.num_features, self.shards.radius
        centre = generator(self.seed, "gaussian mean", client_id).uniform(-radius, radius, size)
        points = centre + generator(self.seed, purpose, client_id).standard_normal((count, size))
        x = points.clip(*self.value_range).astype(np.float32)
        return torch.from_numpy(x), torch.zeros(count, dtype=torch.int64)
