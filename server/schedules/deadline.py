"""Rounds with a deadline: the server counts what is there in time, and waits no longer.

Source: Bonawitz et al. Towards Federated Learning at Scale: System Design. MLSys 2019, Section 2.2.
arXiv:1902.01046
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np

from ...core.contracts import Arrivals, Starts, Traffic


@dataclass(frozen=True)
class Deadline:
    """Let everybody who is drawn begin with the round, and count what arrives within some seconds.

    The round ends when all is there, or with the deadline; who is late then gives up, and may begin again.

    Attributes:
        seconds: What the server waits at most, above 0, in virtual seconds.
    """

    seconds: float

    fresh: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.seconds < inf:
            raise ValueError(f"seconds must be above 0 and finite, got {self.seconds}")

    def init(self) -> None:
        return None

    def starts(self, traffic: Traffic, state: None, generator: np.random.Generator) -> tuple[Starts, None]:
        return Starts(traffic.idle, traffic.now), state

    def arrivals(self, traffic: Traffic, state: None) -> tuple[Arrivals, None]:
        end = min(traffic.now + self.seconds, float(traffic.waits.max(initial=traffic.now)))
        counted = traffic.arrives <= end
        return Arrivals(counted, ~counted, end), state
