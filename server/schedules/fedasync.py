"""Asynchronous optimisation without a buffer: each message moves the model towards its client's, at once.

Source: Xie, Koyejo, Gupta. Asynchronous Federated Optimization (FedAsync). 2019, Algorithm 1 and Section 5.2
(polynomial and hinge staleness). arXiv:1903.03934. The default constants are those of the paper as they are
quoted, unverified; that clients minimise with a proximal term is algorithm ``fedprox``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from .buffered import Buffered

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ...core.contracts import Arrivals, Starts, Traffic
    from ...core.trees import State


@dataclass(frozen=True)
class FedAsync:
    """Make a step of each message, x = (1 - a s(tau)) x + a s(tau) y: y is a client's model, tau rounds old.

    That is a buffer of one whose direction is y - x for the x of now, and not for that from which the client
    began. Clients begin and end as under ``buffered``; privacy counts them in the same way, and what stands
    between the two x is public: under central privacy a refused message (NaN) counts as one of a client that
    ended where it began.

    Attributes:
        mixing: The paper's alpha, above 0 and at most 1.
        concurrency: Clients at work at the same time, at least 1.
        max_staleness: The most rounds ago that a message may have begun, at least 0; an older one is dropped
            when it arrives. None: any number.
        staleness: s: ``"constant"`` 1, ``"polynomial"`` (1 + tau)^-exponent, or ``"hinge"``: 1 up to
            ``cutoff`` rounds, and 1 / (slope (tau - cutoff) + 1) beyond.
        exponent: From 0 to 1.
        slope: At least 0.
        cutoff: In rounds, at least 0.
    """

    mixing: float = 0.6
    concurrency: int = 100
    max_staleness: int | None = None
    staleness: Literal["constant", "polynomial", "hinge"] = "polynomial"
    exponent: float = 0.5
    slope: float = 10.0
    cutoff: int = 4

    bounded: ClassVar[bool] = True
    from_now: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.mixing <= 1:
            raise ValueError(f"mixing must be above 0 and at most 1, got {self.mixing}")
        if not 0 <= self.exponent <= 1:
            raise ValueError(f"exponent must be from 0 to 1, got {self.exponent}")
        for name in ("slope", "cutoff"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")
        if self.staleness not in ("constant", "polynomial", "hinge"):
            raise ValueError(f"staleness must be constant, polynomial or hinge, got '{self.staleness}'")
        self._one_by_one()

    def init(self) -> State:
        return None

    def size(self, drawn: float) -> float:
        return 1.0

    def starts(self, traffic: Traffic, state: State, generator: np.random.Generator) -> tuple[Starts, State]:
        return self._one_by_one().starts(traffic, state, generator)

    def arrivals(self, traffic: Traffic, state: State) -> tuple[Arrivals, State]:
        return self._one_by_one().arrivals(traffic, state)

    def weights(self, staleness: Tensor, num_examples: Tensor) -> Tensor:
        """Return s(tau), float64.  # [K]"""
        tau = staleness.double()
        if self.staleness == "hinge":
            return 1 / (self.slope * (tau - self.cutoff).clamp(min=0) + 1)
        return (1 + tau) ** -self.exponent if self.staleness == "polynomial" else torch.ones_like(tau)

    def gain(self, counted: float) -> float:
        return self.mixing

    def _one_by_one(self) -> Buffered:
        return Buffered(1, self.concurrency, self.max_staleness)
