"""Over-selection: more clients begin than are needed, and the first to answer count.

Source: Bonawitz et al. Towards Federated Learning at Scale: System Design. MLSys 2019, Section 2.2 (the goal
count). arXiv:1902.01046
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.contracts import Arrivals, Starts, Traffic


@dataclass(frozen=True)
class OverSelect:
    """Let everybody who is drawn begin with the round, and count the first ``goal`` messages.

    The round ends with the last of them; the others give up, and may begin again. At equal times the lower id
    is first. Where fewer come, these count when the network has given up the others. To select a share o more
    than are needed, draw ceil((1 + o) goal) clients.

    Attributes:
        goal: Messages that end a round, at least 1.
    """

    goal: int

    fresh: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.goal < 1:
            raise ValueError(f"goal must be at least 1, got {self.goal}")

    def init(self) -> None:
        return None

    def size(self, drawn: float) -> float:
        return float(max(1, min(self.goal, drawn)))

    def starts(self, traffic: Traffic, state: None, generator: np.random.Generator) -> tuple[Starts, None]:
        return Starts(traffic.idle, traffic.now), state

    def arrivals(self, traffic: Traffic, state: None) -> tuple[Arrivals, None]:
        come = traffic.order[np.isfinite(traffic.arrives[traffic.order])][: self.goal]
        counted = np.zeros(len(traffic.client_ids), dtype=bool)
        counted[come] = True
        there = len(come) == self.goal
        end = traffic.arrives[come[-1]] if there else traffic.waits.max(initial=traffic.now)
        return Arrivals(counted, ~counted, float(end)), state
