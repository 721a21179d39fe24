"""Links with latency, bandwidth, jitter and drop-outs, and a server that waits or sets a deadline.

Source: a model of our own: the usual sum of compute, transfer and latency on a virtual clock. Deadline:
Bonawitz et al. Towards Federated Learning at Scale: System Design. MLSys 2019, Section 2.2.
arXiv:1902.01046
"""

from dataclasses import dataclass
from math import inf
from typing import Any, Literal

import numpy as np

from ...core.contracts import Delivery


@dataclass(frozen=True)
class Links:
    """Give each client examples * compute + down / bandwidth + up / bandwidth + latency seconds, jittered.

    A client that drops out never arrives (infinitely many seconds). Under ``"wait_all"`` the server sees
    the lost connection and waits for the others only; under ``"deadline"`` it waits until everybody came
    or the deadline passed.

    Attributes:
        latency_seconds: Fixed delay of a client's round, both ways together, at least 0.
        bandwidth_down: Bytes a second from server to client, above 0; None is unlimited.
        bandwidth_up: Bytes a second from client to server, above 0; None is unlimited.
        compute_seconds_per_example: Time to process one example, at least 0.
        jitter: Each client's seconds are multiplied by exp(N(0, jitter^2)); at least 0.
        dropout: Probability that a client never answers, in [0, 1).
        policy: ``"wait_all"`` or ``"deadline"``.
        deadline_seconds: What the server waits at most, above 0: with ``"deadline"``, and only then.
    """

    latency_seconds: float = 0.0
    bandwidth_down: float | None = None
    bandwidth_up: float | None = None
    compute_seconds_per_example: float = 0.0
    jitter: float = 0.0
    dropout: float = 0.0
    policy: Literal["wait_all", "deadline"] = "wait_all"
    deadline_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("latency_seconds", "compute_seconds_per_example", "jitter"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")
        for name in ("bandwidth_down", "bandwidth_up", "deadline_seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < inf:
                raise ValueError(f"{name} must be above 0 and finite, got {value}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if (self.policy == "deadline") != (self.deadline_seconds is not None):
            raise ValueError(
                "policy 'deadline' and deadline_seconds go together, "
                f"got policy '{self.policy}' and deadline_seconds {self.deadline_seconds}"
            )

    @property
    def blind(self) -> bool:
        """Whether who arrives says nothing about anybody's data: no deadline that a large client misses."""
        return self.deadline_seconds is None

    @property
    def timed_by(self) -> tuple[str, ...]:
        """What a message's delay depends on."""
        found = {"examples": self.compute_seconds_per_example > 0, "bytes": self.bandwidth_up is not None}
        return tuple(name for name, there in found.items() if there)

    @property
    def gives_up_after(self) -> float:
        """The deadline, where there is one."""
        return inf if self.deadline_seconds is None else self.deadline_seconds

    @property
    def may_lose(self) -> bool:
        """Whether a message may never arrive, or too late."""
        return self.dropout > 0 or self.deadline_seconds is not None

    def deliver(
        self,
        examples: np.ndarray[Any, Any],
        bytes_down: int | np.ndarray[Any, Any],
        bytes_up: np.ndarray[Any, Any],
        generator: np.random.Generator,
    ) -> Delivery:
        """Return who arrived, and after how many virtual seconds."""
        seconds = self._seconds(examples, bytes_down, bytes_up)
        seconds *= np.exp(self.jitter * generator.standard_normal(len(seconds)))
        seconds[generator.random(len(seconds)) < self.dropout] = np.inf
        if self.deadline_seconds is not None:
            length = min(self.deadline_seconds, float(seconds.max(initial=0.0)))
            return Delivery(seconds <= self.deadline_seconds, seconds, length)
        arrived = np.isfinite(seconds)
        return Delivery(arrived, seconds, float(seconds[arrived].max(initial=0.0)))

    def _seconds(
        self,
        examples: np.ndarray[Any, Any],
        bytes_down: int | np.ndarray[Any, Any],
        bytes_up: np.ndarray[Any, Any],
    ) -> np.ndarray[Any, Any]:
        seconds = self.latency_seconds + self.compute_seconds_per_example * examples.astype(np.float64)
        if self.bandwidth_down is not None:
            seconds += bytes_down / self.bandwidth_down
        if self.bandwidth_up is not None:
            seconds += bytes_up / self.bandwidth_up
        return seconds
