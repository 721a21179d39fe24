"""What defenses and pre-aggregations owe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from ..layout import Layout
    from ..trees import State
    from ..updates import Forward, Updates


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


@dataclass(frozen=True, eq=False)
class EvaluatedModel:
    """The model that a certificate is asked about, and what one round can do to it.

    Attributes:
        round: Rounds that are done, at least 0.
        layout: How its parameters lie in a vector.
        num_classes: C; 0 of a regression.
        seed: The run's: who draws does so from ``generator(seed, its name, round)``.
        forward: As in ``Context``, with the buffers that the model has.
        expected_size: The public, expected number of clients in a cohort.
        gain: What the next round's aggregate is multiplied by in the parameters after it, whatever else moves
            them; None where they are no multiple of it, or clients' buffers (batch statistics) move the model
            beside them.
    """

    round: int
    layout: Layout
    num_classes: int
    seed: int
    forward: Forward
    expected_size: float
    gain: float | None


class Defense(Protocol):
    """Turn a cohort's updates into one aggregate.

    What it may declare: ``core.declarations.Defenses``.

    It refuses a cohort with ``InfeasibleCohort``, or with a plain ``ValueError`` where the cohort is smaller
    than the run's should be; below its ``least_cohort`` a run does not ask it. In such a round the aggregate
    is the zero update, and its memory stays as it was. Of an empty cohort it is always the zero update.

    With ``prepare(params, state) -> (params, state)`` it may put something into the parameters before they go
    down in a round; updates are relative to that, and the server applies the aggregate to its own. One that
    declares ``trains_models`` is handed the round's ``Context`` as the last argument. With
    ``evaluate(params, x, model) -> columns`` it says what it certifies of a model that is evaluated.
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

    Where fewer rows come out than went in, a row bears the id of one of the clients behind it, and
    nothing that the defense says of single clients is recorded.

    What it may declare: ``core.declarations.PreAggregations``. Where a row is still one client's though
    others' updates are in it (as in NNM: ``mixes_clients``), the defense's flags and scores are its client's;
    the weights, which are shares of the aggregate, are nobody's. It refuses a cohort as a defense does.
    """

    def init(self) -> State: ...

    def transform(self, updates: Updates, state: State) -> tuple[Updates, State]: ...
