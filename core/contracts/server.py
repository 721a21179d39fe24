"""What the server is made of: optimizers, samplers, networks."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from ..trees import State


class ServerOptimizer(Protocol):
    """Apply an aggregate to the global parameters. What it may declare: ``core.declarations.Optimizers``."""

    def init(self) -> State: ...

    def step(self, params: Tensor, aggregate: Tensor, state: State) -> tuple[Tensor, State]: ...


@dataclass(frozen=True)
class Sampling:
    """How a sampler really samples, as an accountant must know it.

    Attributes:
        scheme: ``"poisson"``, ``"fixed_size"`` (without replacement, fresh each round), ``"full"``,
            ``"round_robin"`` (each client once in ``min_separation`` rounds), or ``"other"``:
            data-independent, but nothing more is known.
        num_clients: N, the population.
        sample_rate: Probability of a client in a round, q.
        expected_size: q * N, the public denominator.
        min_separation: How many rounds apart two rounds of one client are at least; 1 promises nothing.
    """

    scheme: str
    num_clients: int
    sample_rate: float
    expected_size: float
    min_separation: int = 1


class Sampler(Protocol):
    """Choose the cohort of a round.

    What it may declare: ``core.declarations.Samplers``.
    """

    def sampling(self, num_clients: int) -> Sampling:
        """Return how this sampler samples; raise ``ValueError`` where it cannot (cohort too large)."""

    def sample(self, num_clients: int, generator: np.random.Generator) -> np.ndarray[Any, Any]:
        """Return the cohort's client ids, ascending, int64; possibly none."""


@dataclass(frozen=True)
class Delivery:
    """What the network did to a cohort's messages.

    Attributes:
        arrived: Whether each message arrived in time, bool.  # [K]
        client_seconds: Virtual seconds from broadcast to arrival, float64.  # [K]
        round_seconds: Virtual length of the round.
    """

    arrived: np.ndarray[Any, Any]
    client_seconds: np.ndarray[Any, Any]
    round_seconds: float


class Network(Protocol):
    """Delay and drop messages on a virtual clock: computed, never slept.

    What it may declare: ``core.declarations.Networks``.
    """

    def deliver(
        self,
        examples: np.ndarray[Any, Any],
        bytes_down: int | np.ndarray[Any, Any],
        bytes_up: np.ndarray[Any, Any],
        generator: np.random.Generator,
    ) -> Delivery:
        """Return the fate of K messages, from examples processed [K] and bytes sent [K].

        ``bytes_down`` is what each client received; where clients' models are of several sizes, int64 [K].
        """
