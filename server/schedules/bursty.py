"""Rounds that leave stragglers behind as long as these come in bursts that a code over rounds stands.

Source: Krishnan, Ebrahimi, Khisti. Sequential Gradient Coding for Straggler Mitigation. ICLR 2023.
arXiv:2211.13802: the (B, W, lambda)-bursty model; when a round ends follows the authors' public code.
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import Arrivals, Starts, Traffic
from .parts.coded_rounds import bursty
from .parts.stragglers import ends

Late = list[Tensor]
"""Who was left behind in each of the last W - 1 rounds, the oldest first: ids int64."""


@dataclass(frozen=True)
class Bursty:
    """Let everybody who is drawn begin with the round, and count all but the stragglers, if these conform.

    A client straggles that takes more than 1 + ``slack`` times as long as the fastest one. Stragglers conform
    where they are at most lambda clients within W rounds, and none of them straggled B to W - 1 rounds ago;
    else the server waits for everybody, as for ``sr_sgc`` and ``m_sgc`` with the same numbers. Who is left
    behind gives up, and may begin again. A message that the network loses is a straggler's.

    Attributes:
        burst: B, rounds, at least 1 and below ``window``.
        window: W, rounds.
        most_late: lambda, clients, at least 0.
        slack: mu, in units of the fastest client's seconds, at least 0.
    """

    burst: int = 1
    window: int = 2
    most_late: int = 1
    slack: float = 1.0

    fresh: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 1 <= self.burst < self.window:
            raise ValueError(f"burst must be at least 1 and below window, got {self.burst} and {self.window}")
        if self.most_late < 0:
            raise ValueError(f"most_late must be at least 0, got {self.most_late}")
        if not 0 <= self.slack < inf:
            raise ValueError(f"slack must be at least 0 and finite, got {self.slack}")

    def init(self) -> Late:
        return []

    def starts(self, traffic: Traffic, state: Late, generator: np.random.Generator) -> tuple[Starts, Late]:
        return Starts(traffic.idle, traffic.now), state

    def arrivals(self, traffic: Traffic, state: Late) -> tuple[Arrivals, Late]:
        end, everybody = ends(traffic, self.slack)
        counted = traffic.arrives <= end
        if not self._conform(state, traffic.client_ids[~counted]):
            counted, end = np.isfinite(traffic.arrives), everybody
        late = torch.from_numpy(np.sort(traffic.client_ids[~counted]).astype(np.int64))
        return Arrivals(counted, ~counted, end), [*state, late][1 - self.window :]

    def _conform(self, before: Late, late: np.ndarray[tuple[int], np.dtype[np.int64]]) -> bool:
        rounds = [*(one.numpy() for one in before), late]
        who = np.unique(np.concatenate(rounds))
        *history, now = (np.isin(who, ids) for ids in rounds)
        return bursty(history, now, self.burst, self.window, self.most_late)
