"""Rounds: a cohort begins together, and the server waits for all of it.

Source: McMahan, Moore, Ramage, Hampson, Agüera y Arcas. Communication-Efficient Learning of Deep Networks
from Decentralized Data. AISTATS 2017, Algorithm 1. arXiv:1602.05629
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.contracts import Arrivals, Starts, Traffic


@dataclass(frozen=True)
class Synchronous:
    """Let everybody who is drawn begin with the round, and count all messages that the network delivers.

    The round ends when the network has them all, or gives up the others.
    """

    plain: ClassVar[bool] = True

    def init(self) -> None:
        return None

    def starts(self, traffic: Traffic, state: None, generator: np.random.Generator) -> tuple[Starts, None]:
        return Starts(traffic.idle, traffic.now), state

    def arrivals(self, traffic: Traffic, state: None) -> tuple[Arrivals, None]:
        there = np.isfinite(traffic.arrives)
        return Arrivals(there, ~there, float(traffic.waits.max(initial=traffic.now))), state
