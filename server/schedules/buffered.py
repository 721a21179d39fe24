"""Buffered asynchronous aggregation: clients come and go, and the server steps once a buffer is full.

Source: Nguyen, Malik, Zhan, Yousefpour, Rabbat, Malek, Huba. Federated Learning with Buffered Asynchronous
Aggregation (FedBuff). AISTATS 2022, Algorithm 1. arXiv:2106.06639. Polynomial staleness: Xie, Koyejo, Gupta.
Asynchronous Federated Optimization. 2019, Section 5. arXiv:1903.03934. Threshold, example weights, the sum:
FLSim (facebookresearch/FLSim). The default constants are those of the FedBuff paper as they are quoted,
unverified; the order of events at equal times is a convention of this project.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import Arrivals, Starts, Traffic

if TYPE_CHECKING:
    from ...core.trees import State


@dataclass(frozen=True)
class Buffered:
    """Count ``buffer_size`` messages a round, in the order of their arrival; a round is a server version.

    A client trains from the model of the round in which it began. Where one ends, another of those drawn
    begins, at random, so that ``concurrency`` are at work as long as somebody is idle: nobody is who has a
    message on the way or in the buffer. What arrives counts before anybody begins at that instant; of
    messages that arrive together, those whose clients began first. A message that the network loses frees its
    client's place when the network gives it up, and its client with the round.

    An update that began tau rounds ago is multiplied by s(tau), after clipping; what else a message holds is
    not. By examples the defense weighs: the paper's equal weights are mean's weighting = "uniform".

    Attributes:
        buffer_size: Messages that make a step (K), at least 1.
        concurrency: Clients at work at the same time, at least 1.
        max_staleness: The most rounds ago that a message may have begun, at least 0; an older one is dropped
            when it arrives. None: any number.
        staleness: s: ``"constant"`` 1, ``"polynomial"`` (1 + tau)^-exponent, or ``"threshold"``: 1 up to
            ``cutoff`` rounds, and ``late_weight`` beyond.
        exponent: The paper's a, from 0 to 1.
        cutoff: In rounds, at least 0.
        late_weight: From 0 to 1.
        average_staleness: Weights are divided by s of it, at least 0, as FLSim does; None: they are not.
        example_weight: ``"equal"``, or what a client's n examples multiply its update by: ``"linear"`` n,
            ``"sqrt"`` sqrt(n), ``"log10"`` log10(1 + n); beside a defense that weighs all alike.
        reduction: ``"mean"``, or ``"sum"``: the step is that of the mean times the messages in the buffer.
        starts_by: ``"closed"`` as above, or clients that begin one by one, ``start_rate`` of them in a
            virtual second: at times k / start_rate (``"constant"``), or with exponential gaps
            (``"poisson"``). One that finds ``concurrency`` clients at work, or nobody idle, waits for room.
        start_rate: Above 0, and only then.
        flush_at_end: Whether a buffer that cannot fill, since nobody is at work any more and nobody else may
            begin, is applied all the same; else it waits for the next round.
    """

    buffer_size: int = 10
    concurrency: int = 100
    max_staleness: int | None = None
    staleness: Literal["constant", "polynomial", "threshold"] = "polynomial"
    exponent: float = 0.5
    cutoff: int = 0
    late_weight: float = 0.0
    average_staleness: float | None = None
    example_weight: Literal["equal", "linear", "sqrt", "log10"] = "equal"
    reduction: Literal["mean", "sum"] = "mean"
    starts_by: Literal["closed", "constant", "poisson"] = "closed"
    start_rate: float | None = None
    flush_at_end: bool = True

    def __post_init__(self) -> None:
        for name, least in (("buffer_size", 1), ("concurrency", 1), ("cutoff", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        for name in ("exponent", "late_weight"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        for name in ("max_staleness", "average_staleness"):
            if (value := getattr(self, name)) is not None and not 0 <= value < inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {value}")
        if (self.starts_by == "closed") != (self.start_rate is None):
            raise ValueError(
                "start_rate goes with starts_by 'constant' or 'poisson', and with these only, got "
                f"starts_by '{self.starts_by}' and start_rate {self.start_rate}"
            )
        if self.start_rate is not None and not 0 < self.start_rate < inf:
            raise ValueError(f"start_rate must be above 0 and finite, got {self.start_rate}")
        if self.average_staleness is not None and self._worth(self.average_staleness) == 0:
            raise ValueError("average_staleness: its own weight is 0, by which nothing can be divided")

    @property
    def bounded(self) -> bool:
        """Whether no weight is above 1: those by examples may be."""
        return self.example_weight == "equal"

    def init(self) -> State:
        return None if self.start_rate is None else 0.0  # when the next client begins

    def size(self, drawn: float) -> float:
        return float(self.buffer_size)

    def starts(self, traffic: Traffic, state: State, generator: np.random.Generator) -> tuple[Starts, State]:
        """Return who begins next: at the first instant, before the buffer is full, at which there is room."""
        nobody = Starts(traffic.idle[:0], traffic.now), state
        if not len(traffic.idle):
            return nobody
        begun = traffic.begins[traffic.started == traffic.round]
        first = max(traffic.now, state or 0.0, float(begun.max(initial=traffic.now)))
        leaves = _leaves(traffic)
        instants = np.unique(np.append(leaves[np.isfinite(leaves) & (leaves > first)], first))
        at_work = (traffic.begins <= instants[:, None]) & (leaves > instants[:, None])  # [instants, n]
        room = self.concurrency - at_work.sum(axis=1)
        if not (room > 0).any():
            return nobody
        place = int(np.argmax(room > 0))
        at = float(instants[place])
        if at >= self._full(traffic):  # arrivals come before starts
            return nobody
        number = min(int(room[place]), len(traffic.idle)) if self.start_rate is None else 1
        chosen = np.sort(generator.choice(traffic.idle, number, replace=False))
        return Starts(chosen, at), self._next(state, generator)

    def arrivals(self, traffic: Traffic, state: State) -> tuple[Arrivals, State]:
        """Return the first messages to arrive, as many as the buffer takes; older ones than allowed go."""
        come = self._accepted(traffic)
        leaves = _leaves(traffic)
        counted = np.zeros(len(traffic.client_ids), dtype=bool)
        at = self._full(traffic)
        if at < inf:
            counted[come[: self.buffer_size]] = True
        else:
            at = float(leaves.max(initial=traffic.now))
            counted[come] = self.flush_at_end
        fits = np.isin(np.arange(len(leaves)), come)
        return Arrivals(counted, ~fits & (leaves <= at), at), state

    def weights(self, staleness: Tensor, num_examples: Tensor) -> Tensor:
        """Return s(tau) e(n), float64.  # [K]"""
        worth = torch.tensor([self._worth(tau) for tau in staleness.tolist()], dtype=torch.float64)
        examples = num_examples.double()
        of_examples = {
            "equal": torch.ones_like(examples),
            "linear": examples,
            "sqrt": examples.sqrt(),
            "log10": (1 + examples).log10(),
        }
        return worth * of_examples[self.example_weight]

    def gain(self, counted: float) -> float:
        """Return what the aggregate is multiplied by: the messages in it for a sum, and 1 / s(average)."""
        usual = 1.0 if self.average_staleness is None else self._worth(self.average_staleness)
        return (counted if self.reduction == "sum" else 1.0) / usual

    def _worth(self, tau: float) -> float:
        if self.staleness == "threshold":
            return 1.0 if tau <= self.cutoff else self.late_weight
        return float((1 + tau) ** -self.exponent) if self.staleness == "polynomial" else 1.0

    def _accepted(self, traffic: Traffic) -> np.ndarray:
        """Return the places of the messages that may count, in the order of their arrival."""
        order = traffic.order
        fresh = np.isfinite(traffic.arrives[order])
        if self.max_staleness is not None:
            fresh &= traffic.round - traffic.started[order] <= self.max_staleness
        found: np.ndarray = order[fresh]
        return found

    def _full(self, traffic: Traffic) -> float:
        """Return when the buffer is full, as far as is known; infinite where it will not be."""
        come = self._accepted(traffic)
        if len(come) < self.buffer_size:
            return inf
        return max(traffic.now, float(traffic.arrives[come[self.buffer_size - 1]]))

    def _next(self, state: State, generator: np.random.Generator) -> State:
        if self.start_rate is None:
            return state
        gap = 1.0 if self.starts_by == "constant" else float(generator.standard_exponential())
        return state + gap / self.start_rate


def _leaves(traffic: Traffic) -> np.ndarray:
    """Return when each client's place is free: its message arrives, or the network gives it up.  # [n]"""
    found: np.ndarray = np.where(np.isfinite(traffic.arrives), traffic.arrives, traffic.waits)
    return found
