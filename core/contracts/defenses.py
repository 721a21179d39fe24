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
        fallback: Where the aggregate is not the rule's own, since it cannot judge this cohort: why, and what
            it is instead. Recorded with the round.
    """

    aggregate: Tensor
    weights: Tensor | None = None
    flags: Mapping[int, str] = field(default_factory=dict)
    scores: Mapping[int, float] = field(default_factory=dict)
    details: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    fallback: str = ""


class Defense(Protocol):
    """Turn a cohort's updates into one aggregate.

    Declares, if it likes (the careful answer in brackets):
        ``linear`` [False]: the aggregate is linear in the updates. With the two methods of
            ``LinearDefense``, workers may form partial sums.
        ``individual`` [True]: it needs single updates, so that secure aggregation is refused.
        ``sensitivity(clip_norm, expected_size) -> float | None`` [None]: by how much, in L2 norm, one
            client more or less moves the aggregate when every update's norm is at most ``clip_norm``.
            Ignored for a defense with a memory: a client also moves what is remembered of it.
        ``needs_root`` [False]: it reads ``updates.context.root``, so that a scenario must give the server
            examples of its own.
        ``remembers_clients`` [False]: its memory is about single clients, by id, so that a pre-aggregation
            that leaves fewer rows than clients is refused before it.
        ``least_cohort`` [1]: the smallest cohort, if not empty, that it does not refuse as configured. A run
            whose cohorts are all smaller is refused.
        ``needs_clients`` [none]: the ids of clients without which it refuses a cohort as configured.

    It refuses a cohort with ``InfeasibleCohort``, or with a plain ``ValueError`` where the cohort is smaller
    than the run's should be; below its ``least_cohort`` a run does not ask it. In such a round the aggregate
    is the zero update, and its memory stays as it was. Of an empty cohort it is always the zero update.
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
    """Change a cohort's updates before the defense sees them.

    Where fewer rows come out than went in, a row bears the id of one of the clients behind it. That id is a
    loan: nothing that the defense says of single clients is recorded then.

    Declares, if it likes (what holds of a silent one in brackets):
        ``mixes_clients`` [False]: a row that comes out is made of several clients' updates. Where it is still
            one row a client (as in NNM), the defense's flags and scores are that client's; its weights, which
            are shares of the aggregate, are nobody's.
        ``rows_after(rows)`` [``rows``]: how many rows come out where so many went in.
        ``least_cohort`` [1]: as a defense's; and it refuses a cohort as a defense does.
    """

    def init(self) -> State: ...

    def transform(self, updates: Updates, state: State) -> tuple[Updates, State]: ...
