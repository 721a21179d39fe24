"""A virtual link for each client: how long its counted bytes take, both ways.

Source: a model of our own: the usual sum of latency and transfer. A link's figures are one for all clients,
one a client, or drawn once a client from a stated law; none changes from round to round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...core.contracts import Delivery
from ...core.errors import PluginError, unknown
from ...core.registry import configure
from ...core.seeds import generator

if TYPE_CHECKING:
    from .mailbox import Array

BIT = 1e-6
"""The slowest link, in Mb/s: a bit a second."""
MOST = 1e9
"""The largest figure of a link."""
_LEAST = {"up_mbps": BIT, "down_mbps": BIT, "latency_ms": 0.0}


class Law(Protocol):
    """How figures are spread over clients."""

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest figure that it may draw, or what must be in range for it."""

    def draw(self, number: int, stream: np.random.Generator) -> Array:
        """Return so many figures, float64."""


@dataclass(frozen=True)
class Uniform:
    """Each figure alike between ``low`` and ``high``."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low must be at most high, got {self.low} and {self.high}")

    @property
    def ends(self) -> tuple[float, float]:
        return self.low, self.high

    def draw(self, number: int, stream: np.random.Generator) -> Array:
        return stream.uniform(self.low, self.high, number)


@dataclass(frozen=True)
class LogNormal:
    """``median`` exp(N(0, sigma^2)); sigma from 0 to 5. What leaves the range of a link stays at its end."""

    median: float
    sigma: float = 1.0

    def __post_init__(self) -> None:
        if self.median <= 0:
            raise ValueError(f"median must be above 0, got {self.median}")
        if not 0 <= self.sigma <= 5:
            raise ValueError(f"sigma must be from 0 to 5, got {self.sigma}")

    @property
    def ends(self) -> tuple[float, float]:
        return self.median, self.median

    def draw(self, number: int, stream: np.random.Generator) -> Array:
        return np.clip(self.median * np.exp(self.sigma * stream.standard_normal(number)), BIT, MOST)


@dataclass(frozen=True)
class Choice:
    """One of ``values``, each as likely as the others."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("values must hold at least one figure")

    @property
    def ends(self) -> tuple[float, float]:
        return min(self.values), max(self.values)

    def draw(self, number: int, stream: np.random.Generator) -> Array:
        return stream.choice(np.asarray(self.values, dtype=np.float64), number)


LAWS: Mapping[str, type[Law]] = {"uniform": Uniform, "lognormal": LogNormal, "choice": Choice}


@dataclass(frozen=True)
class Link:
    """The figures of clients' links: a number, a list of one a client, or a table with a ``law``.

    Attributes:
        up_mbps: Megabits (10^6 bits) a second from client to server, at least 1e-6; None: no time at all.
        down_mbps: From server to client, likewise.
        latency_ms: Milliseconds that each way takes besides, at least 0.
        seed: What laws draw from; None: the run's seed.
    """

    up_mbps: Any = None
    down_mbps: Any = None
    latency_ms: Any = 0.0
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.seed is not None and self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")
        for name, least in _LEAST.items():
            if (value := getattr(self, name)) is not None:
                _check(name, value, least)

    def of_clients(self, num_clients: int, seed: int) -> ClientLinks:
        """Return the links of so many clients.

        Raises:
            PluginError: A list with a figure for more, or fewer, clients.
        """
        seed = seed if self.seed is None else self.seed
        figures = {name: _figures(name, getattr(self, name), num_clients, seed) for name in _LEAST}
        return ClientLinks(figures["up_mbps"], figures["down_mbps"], figures["latency_ms"])


def _check(name: str, value: Any, least: float) -> None:
    if isinstance(value, Mapping):
        _law(name, value)
        return
    for figure in value if isinstance(value, list | tuple) else [value]:
        _in_range(name, figure, least)


def _in_range(name: str, figure: Any, least: float) -> None:
    number = isinstance(figure, int | float) and not isinstance(figure, bool)
    if not number or not isfinite(figure) or not least <= figure <= MOST:
        allowed = f"a number from {least:g} to {MOST:g}, a list of one a client, or a table with a law"
        raise ValueError(f"{name} must be {allowed}; got {figure!r}")


def _law(name: str, table: Mapping[str, Any]) -> Law:
    options = dict(table)
    law = options.pop("law", None)
    if not isinstance(law, str) or law not in LAWS:
        raise PluginError(f"{name}: {unknown('law', str(law), LAWS)}")
    found = configure(LAWS[law], f"{name}, law '{law}'", options)
    for end in found.ends:
        _in_range(name, end, _LEAST[name])
    return found


def _figures(name: str, value: Any, num_clients: int, seed: int) -> Array:
    """Return one figure for all [1], or one a client [N]."""
    if isinstance(value, Mapping):
        return _law(name, value).draw(num_clients, generator(seed, f"link {name}"))
    if isinstance(value, list | tuple):
        if len(value) != num_clients:
            raise PluginError(f"link: {name} lists {len(value)} figures for {num_clients} clients")
        return np.asarray(value, dtype=np.float64)
    return np.array([inf if value is None else float(value)])


@dataclass(frozen=True, eq=False)
class ClientLinks:
    """The links of a run's clients: each array holds one figure for all, or one a client.

    Attributes:
        up_mbps, down_mbps: Megabits a second; infinite: the bytes take no time.
        latency_ms: Milliseconds each way.
    """

    up_mbps: Array
    down_mbps: Array
    latency_ms: Array

    @property
    def timed_by(self) -> tuple[str, ...]:
        """What a message's delay depends on."""
        return ("bytes",) if bool(np.isfinite(self.up_mbps).any()) else ()

    def seconds(self, client_ids: Array, bytes_down: Array | int, bytes_up: Array | int) -> Array:
        """Return how long clients' bytes take: down, up, and the latency twice, float64.  # [K]

        An audit's canaries, whose ids follow the clients', have the links of the clients from the first on.
        """
        up, down, latency = (
            figures[client_ids % len(figures)] for figures in (self.up_mbps, self.down_mbps, self.latency_ms)
        )
        whole: Array = 2e-3 * latency + 8e-6 * bytes_down / down + 8e-6 * bytes_up / up
        return whole


def later(fate: Delivery, seconds: Array, limit: float) -> Delivery:
    """Return what a network did to messages that take so many seconds [K] more.

    Args:
        fate: What it did without them.
        seconds: At least 0.
        limit: After how many seconds the network counts a message no more; infinite: it waits for all that
            it did not lose.
    """
    whole = fate.client_seconds + seconds
    arrived = fate.arrived & (whole <= limit)
    if limit < inf:
        return Delivery(arrived, whole, min(limit, float(whole.max(initial=0.0))))
    return Delivery(arrived, whole, max(fate.round_seconds, float(whole[arrived].max(initial=0.0))))
