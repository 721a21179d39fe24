"""Weighted least squares whose solution is known: the toy on which consensus must be exact.

Source: the kind of problem of Noise-robust and resource-efficient ADMM-based federated learning,
arXiv:2409.13451 (abstract), with sizes and distributions of our own.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.errors import DataError
from ...core.seeds import generator
from .base import Array, FederatedData, check_client
from .targets import Targets

TAIL = 6.0  # entries of X are cut off this many standard deviations out


@dataclass(frozen=True)
class WeightedLeastSquares:
    """Clients with rows y = X w_true + noise, of weights W ~ U(.5, 1.5), for a linear model without bias.

    A client's X is N(0, 1) times a scale of its own, U(.5, 1.5); w_true points anywhere and is as long as the
    root of its size. Rows come multiplied by the root of their weight, so that squared errors are weighted
    ones. The test examples measure a distance: they are the unit vectors, and the mean squared error on them
    is ||w - w*||^2 / ||w_true||^2, w* being the solution for all rows.

    Attributes:
        rows_per_client: Of each client, at least 1; all together at least ``num_features``.
        num_features: Unknowns, at least 1.
        noise_std: Of y, at least 0.
    """

    rows_per_client: int = 20
    num_features: int = 8
    noise_std: float = 0.1

    def __post_init__(self) -> None:
        for name, least in (("rows_per_client", 1), ("num_features", 1), ("noise_std", 0)):
            if not least <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be at least {least} and finite, got {getattr(self, name)}")

    def populate(self, num_clients: int, seed: int) -> FederatedData:
        """Return the clients 0 ... num_clients - 1. Client i holds the same in a larger population.

        Raises:
            DataError: Fewer rows in all than unknowns.
        """
        rows, least = num_clients * self.rows_per_client, self.num_features
        if rows < least:
            raise DataError(f"wls: {rows} rows in all for {least} unknowns; at least as many are needed")
        return WlsClients(self, num_clients, seed)


@dataclass(frozen=True, eq=False)
class WlsClients:
    """A population of least squares, as ``FederatedData``.

    Attributes:
        problem: The options.
        num_clients: N.
        seed: The run's seed.
        targets: One number, ``y``.
    """

    problem: WeightedLeastSquares
    num_clients: int
    seed: int
    targets: Targets = field(default_factory=lambda: Targets(("y",)))

    name: ClassVar[str] = "wls"
    num_classes: ClassVar[int] = 0
    mean: ClassVar[tuple[float, ...]] = ()
    std: ClassVar[tuple[float, ...]] = ()
    value_range: ClassVar[tuple[float, float]] = (-2.25 * TAIL, 2.25 * TAIL)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (self.problem.num_features,)

    def num_examples(self, client_id: int) -> int:
        check_client(client_id, self.num_clients)
        return self.problem.rows_per_client

    def client(self, client_id: int) -> tuple[Tensor, Tensor]:
        check_client(client_id, self.num_clients)
        x, y = self._rows(client_id)
        return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.float32))

    def test(self) -> tuple[Tensor, Tensor]:
        return torch.eye(self.problem.num_features), torch.from_numpy(self.solution).float()[:, None]

    def label_counts(self) -> Array:
        raise DataError("wls has real-valued targets and no labels to count")

    @cached_property
    def solution(self) -> Array:
        """w* = (sum X'WX)^-1 sum X'Wy over all clients, float64.  # [features]"""
        pieces = [self._rows(i) for i in range(self.num_clients)]
        gram = np.sum([x.T @ x for x, _ in pieces], axis=0)
        found: Array = np.linalg.solve(gram, np.sum([x.T @ y[:, 0] for x, y in pieces], axis=0))
        return found

    @cached_property
    def _truth(self) -> Array:
        drawn = generator(self.seed, "wls truth").standard_normal(self.problem.num_features)
        found: Array = drawn * np.sqrt(len(drawn)) / np.linalg.norm(drawn)
        return found

    def _rows(self, client_id: int) -> tuple[Array, Array]:
        """Return the client's weighted rows, float64.  # [rows, features] and [rows, 1]"""
        draw, count = generator(self.seed, "wls rows", client_id), self.problem.rows_per_client
        x = draw.standard_normal((count, self.problem.num_features)).clip(-TAIL, TAIL)
        x *= draw.uniform(0.5, 1.5)
        weight = np.sqrt(draw.uniform(0.5, 1.5, (count, 1)))
        y = x @ self._truth[:, None] + self.problem.noise_std * draw.standard_normal((count, 1))
        return weight * x, weight * y
