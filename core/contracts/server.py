"""What the server is made of: optimizers, samplers, networks, schedules."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from ..trees import State

Array = np.ndarray[Any, Any]


class ServerOptimizer(Protocol):
    """Apply an aggregate to the global parameters. What it may declare: ``core.declarations.Optimizers``."""

    def init(self) -> State: ...

    def step(self, params: Tensor, aggregate: Tensor, state: State) -> tuple[Tensor, State]: ...


SCHEMES = ("poisson", "fixed_size", "full", "round_robin", "other")
"""The ways of sampling that an accountant knows; see ``Sampling``."""


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

        ``bytes_down`` is what each client received; where clients' models are of several sizes, or those that
        were away receive more, int64 [K].
        """


@dataclass(frozen=True)
class Traffic:
    """What a schedule knows: who is on the way and when each message comes, never what it holds.

    A round is one step of the server. The messages stand in the order in which their clients began.

    Attributes:
        round: The round, from 0.
        now: When it began, in virtual seconds since the start of the run.
        drawn: Ids of the clients that the sampler lets take part in it, ascending, int64.  # [D]
        client_ids: Whose messages are sent and not yet counted, each client once, int64.  # [n]
        started: The round in which each client began, int64.  # [n]
        begins: When it began, float64.  # [n]
        arrives: When its message arrives, infinite where it never does, float64.  # [n]
        waits: When the network gives up those that began with it, or has them all, float64.  # [n]
    """

    round: int
    now: float
    drawn: Array
    client_ids: Array
    started: Array
    begins: Array
    arrives: Array
    waits: Array

    @cached_property
    def idle(self) -> Array:
        """Ids of the drawn clients without a message on the way, ascending: only they may begin."""
        if not len(self.client_ids):
            return self.drawn
        if np.array_equal(self.drawn, self.client_ids):
            return self.drawn[:0]
        return self.drawn[~np.isin(self.drawn, self.client_ids)]

    @cached_property
    def order(self) -> Array:
        """Places of the messages in the order of their arrival; at equal times who began first.  # [n]"""
        return np.argsort(self.arrives, kind="stable")


@dataclass(frozen=True)
class Starts:
    """Who begins next.

    Attributes:
        client_ids: Some of the idle clients, ascending, int64; none: nobody more in this round.  # [K]
        at: When they begin, in virtual seconds since the start of the run; not before the round does.
    """

    client_ids: Array
    at: float


@dataclass(frozen=True)
class Arrivals:
    """What becomes of the messages in a round; a message that is neither counted nor dropped waits on.

    Attributes:
        counted: Which of the messages count now, bool; only such as arrive by then.  # [n]
        dropped: Which of the others never will, bool.  # [n]
        at: When the round ends, in virtual seconds since the start of the run; not before it began.
    """

    counted: Array
    dropped: Array
    at: float


class Schedule(Protocol):
    """Say who begins when, and which messages count in a round.

    ``starts`` is asked again, with the messages of those who began, until it lets nobody begin or nobody is
    idle; then ``arrivals`` is asked once. What it may declare: ``core.declarations.Schedules``.
    """

    def init(self) -> State: ...

    def starts(self, traffic: Traffic, state: State, generator: np.random.Generator) -> tuple[Starts, State]:
        """Return who begins next; the generator is fresh in each call."""

    def arrivals(self, traffic: Traffic, state: State) -> tuple[Arrivals, State]:
        """Return which messages count now, which never will, and when the round ends."""
