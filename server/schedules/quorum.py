"""Rounds that leave stragglers behind: who takes much longer than the fastest does not count.

Source: the rule of a round's length in the public code of Krishnan, Ebrahimi, Khisti. Sequential Gradient
Coding for Straggler Mitigation. ICLR 2023. arXiv:2211.13802
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np

from ...core.contracts import Arrivals, Starts, Traffic
from .parts.stragglers import ends


@dataclass(frozen=True)
class Quorum:
    """Let everybody who is drawn begin with the round, and count all but the stragglers.

    A client straggles that takes more than 1 + ``slack`` times as long as the fastest one. The round ends
    when all others are there and that time is over, or everybody is there; stragglers give up, and may begin
    again. A message that the network loses is a straggler's.

    Attributes:
        slack: mu, in units of the fastest client's seconds, at least 0.
        most_late: How many stragglers may be left behind, at least 0: where there are more, the server waits
            for everybody, as a code does that decodes without so many. None: any number.
    """

    slack: float = 1.0
    most_late: int | None = None

    fresh: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.slack < inf:
            raise ValueError(f"slack must be at least 0 and finite, got {self.slack}")
        if self.most_late is not None and self.most_late < 0:
            raise ValueError(f"most_late must be at least 0, got {self.most_late}")

    def init(self) -> None:
        return None

    def starts(self, traffic: Traffic, state: None, generator: np.random.Generator) -> tuple[Starts, None]:
        return Starts(traffic.idle, traffic.now), state

    def arrivals(self, traffic: Traffic, state: None) -> tuple[Arrivals, None]:
        end, everybody = ends(traffic, self.slack)
        counted = traffic.arrives <= end
        if self.most_late is not None and int((~counted).sum()) > self.most_late:
            counted, end = np.isfinite(traffic.arrives), everybody
        return Arrivals(counted, ~counted, end), state
