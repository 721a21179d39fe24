"""Gradient coding over rounds: which job's tasks workers do, and when a round may leave stragglers behind.

Source: Krishnan, Ebrahimi, Khisti. Sequential Gradient Coding for Straggler Mitigation. ICLR 2023.
arXiv:2211.13802 (GC, SR-SGC, M-SGC). The rule of a round's length is that of the authors' public code.

A scheme has ``load`` (the share of a job's data that a worker works on in a round), ``delay`` (T: job t can
be decoded after round t + T), ``fits(history, late)``, and ``begin(jobs) -> Progress``, whose ``play(late)``
is one round and ``decodable(job)`` whether its sum can be told.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ....clients.algorithms.parts.gradient_code import spare_of

Array = np.ndarray[Any, Any]


class Progress(Protocol):
    """Who has delivered what of a run of jobs."""

    def play(self, late: Array) -> None:
        """Take the next round, in which the results of these workers are lost, bool.  # [n]"""

    def decodable(self, job: int) -> bool: ...


class Scheme(Protocol):
    """A way of coding."""

    num_workers: int

    @property
    def load(self) -> float: ...
    @property
    def delay(self) -> int: ...
    def fits(self, history: list[Array], late: Array) -> bool:
        """Return whether the scheme stands these stragglers, after those of the rounds before."""

    def begin(self, jobs: int) -> Progress: ...


def bursty(history: list[Array], late: Array, burst: int, window: int, most: int) -> bool:
    """Return whether stragglers conform to the (B, W, lambda)-bursty model.

    At most lambda workers straggle within W rounds, and nobody both now and B to W - 1 rounds ago.
    """
    first = max(0, len(history) - window + 1)
    recent = history[first:]
    if int(np.logical_or.reduce([late, *recent]).sum()) > most:
        return False
    old = history[first : max(first, len(history) - burst + 1)]
    return not any((late & one).any() for one in old)


@dataclass
class _Fresh:
    scheme: "SelectiveRepeat"
    jobs: int
    round: int = 0
    came: Array = field(init=False)

    def __post_init__(self) -> None:
        self.came = np.zeros((self.jobs, self.scheme.num_workers), dtype=bool)

    def play(self, late: Array) -> None:
        r, back = self.round, self.round - self.scheme.burst
        again = np.zeros_like(late)
        if self.scheme.burst and 0 <= back < self.jobs:
            missing = np.flatnonzero(~self.came[back])
            again[missing[: max(0, len(missing) - self.scheme.spare)]] = True
            self.came[back] |= again & ~late
        if r < self.jobs:
            self.came[r] |= ~again & ~late
        self.round += 1

    def decodable(self, job: int) -> bool:
        return int((~self.came[job]).sum()) <= self.scheme.spare


@dataclass(frozen=True)
class SelectiveRepeat:
    """SR-SGC: a job's missing tasks beyond ``spare`` are done again B rounds later. GC is ``burst`` 0.

    Attributes:
        num_workers: n.
        most: lambda; with ``burst`` 0 the s of GC. 0 and ``burst`` 0 is no code.
        burst: B, at least 0; it divides ``window`` - 1.
        window: W.
    """

    num_workers: int
    most: int
    burst: int = 0
    window: int = 1

    def __post_init__(self) -> None:
        if self.burst and ((self.window - 1) % self.burst or self.window <= self.burst):
            raise ValueError(f"burst must divide window - 1, got {self.burst} and {self.window}")
        if not 0 <= self.most < self.num_workers:
            raise ValueError(f"most must be from 0 to {self.num_workers - 1}, got {self.most}")

    @property
    def spare(self) -> int:
        """How many results of a job may be missing (the code's s)."""
        if not self.burst:
            return self.most
        return spare_of(self.most, self.burst, self.window)

    @property
    def load(self) -> float:
        return (self.spare + 1) / self.num_workers

    @property
    def delay(self) -> int:
        return self.burst

    def fits(self, history: list[Array], late: Array) -> bool:
        if not self.burst:
            return int(late.sum()) <= self.most
        return bursty(history, late, self.burst, self.window, self.most)

    def begin(self, jobs: int) -> Progress:
        return _Fresh(self, jobs)


@dataclass
class _Mini:
    scheme: "Multiplexed"
    jobs: int
    round: int = 0
    plain: Array = field(init=False)  # chunks of its own that a worker delivered [jobs, n]
    coded: Array = field(init=False)  # whether it delivered a group's coded result [jobs, B, n]

    def __post_init__(self) -> None:
        n = self.scheme.num_workers
        self.plain = np.zeros((self.jobs, n), dtype=np.int64)
        self.coded = np.zeros((self.jobs, self.scheme.burst, n), dtype=bool)

    def play(self, late: Array) -> None:
        own = self.scheme.window - 1
        for m in range(own + self.scheme.burst):  # each serves a job of its own
            job = self.round - m
            if not 0 <= job < self.jobs:
                continue
            lacks = self.plain[job] < own if m >= own else np.ones_like(late)
            self.plain[job] += lacks & ~late
            if m >= own:
                self.coded[job, m - own] |= ~lacks & ~late
        self.round += 1

    def decodable(self, job: int) -> bool:
        full = bool((self.plain[job] == self.scheme.window - 1).all())
        need = self.scheme.num_workers - self.scheme.most
        return full and bool((self.coded[job].sum(axis=1) >= need).all())


@dataclass(frozen=True)
class Multiplexed:
    """M-SGC: W - 1 chunks of a job are a worker's own, and B groups of chunks are coded, n to n - lambda.

    Attributes:
        num_workers: n.
        most: lambda, from 1 to n.
        burst: B, at least 1.
        window: W, above B.
    """

    num_workers: int
    most: int
    burst: int
    window: int

    def __post_init__(self) -> None:
        if not (1 <= self.burst < self.window and 1 <= self.most <= self.num_workers):
            raise ValueError(
                f"needs 1 <= burst < window and 1 <= most <= {self.num_workers}, got {self.burst}, "
                f"{self.window} and {self.most}"
            )

    @property
    def load(self) -> float:
        n, own, burst = self.num_workers, self.window - 1, self.burst
        if self.most == n:
            return (own + burst) / (n * own)
        return (self.most + 1) * (own + burst) / (n * (burst + own * (self.most + 1)))

    @property
    def delay(self) -> int:
        return self.window - 2 + self.burst

    def fits(self, history: list[Array], late: Array) -> bool:
        return bursty(history, late, self.burst, self.window, self.most)

    def begin(self, jobs: int) -> Progress:
        return _Mini(self, jobs)


@dataclass(frozen=True)
class Replay:
    """What a scheme took.

    Attributes:
        seconds: Of each round.
        waited: Rounds in which the stragglers were waited for, since the scheme does not stand them.
        decoded: Jobs that could be told in time.
    """

    seconds: tuple[float, ...]
    waited: int
    decoded: int


def replay(scheme: Scheme, delays: Array, jobs: int, slack: float = 1.0) -> Replay:
    """Return what a scheme takes on measured delays at its load.

    A worker straggles whose delay is above 1 + slack times the least one. Where the scheme stands them the
    round ends there, and their results are lost; else it waits for everybody.

    Args:
        scheme: The scheme.
        delays: Seconds of each worker in each round, at least jobs + T of them.  # [rounds, n]
        jobs: J.
        slack: The authors' mu, above 0.

    Raises:
        ValueError: Too few rounds, or other workers.
    """
    rounds = jobs + scheme.delay
    if delays.shape[0] < rounds or delays.shape[1] != scheme.num_workers:
        raise ValueError(f"delays must be [{rounds} or more, {scheme.num_workers}], got {delays.shape}")
    progress, history, seconds, waited, decoded = scheme.begin(jobs), list[Array](), list[float](), 0, 0
    for r in range(rounds):
        limit, last = (1 + slack) * float(delays[r].min()), float(delays[r].max())
        late = delays[r] > limit
        stands = scheme.fits(history, late)
        seconds.append(min(limit, last) if stands else last)
        late = late if stands else np.zeros_like(late)
        waited += not stands
        progress.play(late)
        history.append(late)
        decoded += r >= scheme.delay and progress.decodable(r - scheme.delay)
    return Replay(tuple(seconds), waited, decoded)
