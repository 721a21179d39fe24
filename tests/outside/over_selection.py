"""Over-selection: ask more clients than are needed, and take the first to answer.

Source: Bonawitz et al. Towards Federated Learning at Scale: System Design. MLSys 2019, Section 2.2 (the
goal count, and the time after which the server waits no longer). arXiv:1902.01046
"""

from dataclasses import dataclass

import numpy as np

from gauntlet.core.contracts import Arrivals, Starts


@dataclass(frozen=True)
class OverSelection:
    """Let all who are drawn begin, and count the first ``goal`` messages; the others are given up.

    At equal times the lower id is first. Where fewer come, those count that do, at the deadline, or without
    one when the network has given up the others.

    Attributes:
        goal: Messages that end a round, at least 1.
        deadline_seconds: What the server waits at most, above 0; None: as long as it takes.
    """

    goal: int
    deadline_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.goal < 1:
            raise ValueError(f"goal must be at least 1, got {self.goal}")
        if self.deadline_seconds is not None and self.deadline_seconds <= 0:
            raise ValueError(f"deadline_seconds must be above 0, got {self.deadline_seconds}")

    def size(self, drawn):
        return float(max(1, min(self.goal, drawn)))

    def init(self):
        return None

    def starts(self, traffic, state, generator):
        return Starts(traffic.idle, traffic.now), state

    def arrivals(self, traffic, state):
        end = float(traffic.waits.max(initial=traffic.now))
        if self.deadline_seconds is not None:
            end = min(end, traffic.now + self.deadline_seconds)
        first = [place for place in traffic.order if traffic.arrives[place] <= end][: self.goal]
        if len(first) == self.goal:
            end = float(traffic.arrives[first[-1]])
        counted = np.zeros(len(traffic.client_ids), dtype=bool)
        counted[first] = True
        return Arrivals(counted, ~counted, end), state
