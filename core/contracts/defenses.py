"""What defenses and pre-aggregations owe."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from ..trees import State
from ..updates import Updates


@dataclass(frozen=True)
class Verdict:
    """What a defense decides about a cohort.

    Attributes:
        aggregate: The update that the server applies.  # [P]
        weights: Each client's share in the aggregate, or None where coordinates differ (median).  # [K]
        flags: From client id to the kind of misbehaviour seen: ``"malicious"``, or as told apart by the
            defense: ``"sign_flip"``, ``"noise"``, ``"targeted"``, ``"unreliable"``.
        scores: From client id to the defense's own score.
        details: From client id to whatever else the defense has to say about it, by name: counters, cosines,
            distances. Recorded as they are, in a table of their own.
    """

    aggregate: Tensor
    weights: Tensor | None = None
    flags: Mapping[int, str] = field(default_factory=dict)
    scores: Mapping[int, float] = field(default_factory=dict)
    details: Mapping[int, Mapping[str, float]] = field(default_factory=dict)


class Defense(Protocol):
    """Turn a cohort's updates into one aggregate.

    Declares, if it likes (the careful answer in brackets):
        ``linear`` [False]: the aggregate is linear in the updates. With the two methods of
            ``LinearDefense``, workers may form partial sums.
        ``individual`` [True]: it needs single updates, so that secure aggregation is refused.
        ``sensitivity(clip_norm, expected_size) -> float | None`` [None]: by how much, in L2 norm, one
            client more or less moves the aggregate when every update's norm is at most ``clip_norm``.
        ``needs_root`` [False]: it reads ``updates.context.root``, so that a scenario must give the server
            examples of its own.
    """

    def init(self) -> State: ...

    def aggregate(self, updates: Updates, state: State) -> tuple[Verdict, State]: ...


class LinearDefense(Defense, Protocol):
    """A defense whose aggregate is ``sum_k counts_k * update_k / denominator``, both known beforehand."""

    def counts(self, num_examples: Tensor) -> Tensor:
        """Return what each client counts, float64, from the examples that it claims.  # [K] both"""

    def denominator(self, counts: Tensor, expected_size: float) -> float:
        """Return what the sum is divided by, above 0."""


class PreAggregation(Protocol):
    """Change a cohort's updates before the defense sees them."""

    def init(self) -> State: ...

    def transform(self, updates: Updates, state: State) -> tuple[Updates, State]: ...
