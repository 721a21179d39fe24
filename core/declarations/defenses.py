"""What defenses and pre-aggregations may declare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from .declaration import Declaration, Table, count, flag, method, numbers, words

if TYPE_CHECKING:
    from ..contracts.defenses import EvaluatedModel
    from ..trees import State


class Defenses(Table):
    """What a defense may say of itself."""

    linear = flag("The aggregate is linear in the updates.").of("aggregate")
    counts: Declaration[Callable[[Tensor], Tensor] | None] = method(
        "(num_examples) -> Tensor",
        "What each client counts in a linear aggregate, float64 [K]; with `denominator`, workers may add up.",
    ).of("aggregate")
    denominator: Declaration[Callable[[Tensor, float], float] | None] = method(
        "(counts, expected_size) -> float", "What a linear aggregate's sum is divided by, above 0."
    ).of("aggregate")
    weighs_examples = flag("As configured it weighs clients by how many examples they claim.")
    individual = flag("It needs single updates, so that secure aggregation is refused.", careful=True).of(
        "aggregate"
    )
    sensitivity: Declaration[Callable[[float, float], float | None] | None] = method(
        "(clip_norm, expected_size) -> float | None",
        "By how much, in L2 norm, one client more or less moves the aggregate when no update is longer than "
        "`clip_norm`; None where it is not known. Ignored for a defense with a memory.",
    ).of("aggregate")
    stale = flag(
        "What it remembers is right also where messages began in earlier rounds; one without a memory need "
        "not say so."
    )
    needs_root = flag(
        "It reads `updates.context.root`, or `examples`: the server must be given examples of its own."
    )
    runs_models = flag(
        "It runs candidate models: it is handed `updates.context.forward` and `blank`, and `examples` and "
        "`loss` where the server has examples of its own."
    )
    trains_models = flag(
        "It trains models, and declares `runs_models`: `prepare` is handed the `Context` of the round, with "
        "`gradient` in it and the server's own parameters, as a third argument."
    )
    prepare: Declaration[Callable[..., tuple[Tensor, State]] | None] = method(
        "(params, state) -> (params, state)",
        "What goes down in a round in the place of the server's parameters [P], which stay as they are, and "
        "the state that `aggregate` gets.",
    )
    evaluate: Declaration[Callable[[Tensor, Tensor, EvaluatedModel], Mapping[str, Tensor | float]] | None] = (
        method(
            "(params, x, model) -> columns",
            "What it certifies of a model [P] on test examples [m, ...]: by name a tensor [m], or one number "
            "for all; asked in every evaluated round.",
        )
    )
    remembers_clients = flag(
        "Its memory is about single clients, by id: a pre-aggregation that leaves fewer rows is refused."
    )
    least_cohort = count(1, "The smallest cohort, if not empty, that it does not refuse as configured.")
    needs_clients = numbers("The ids of clients without which it refuses a cohort as configured.")
    partial = flag(
        "It can deal with `updates.presence`: a client has no vote in a coordinate that its level lacks, "
        "and one that nobody has is 0 in the aggregate."
    )
    beside_params = flag(
        "It sets messages beside the global parameters, so that these must be updates alone."
    )
    facts = flag("It sees `updates.facts`, what clients state beside their vectors; silent: there are none.")
    exempt = words("The checks of the contract that it breaks on purpose, by name.")


class PreAggregations(Table):
    """What a pre-aggregation may say of itself."""

    mixes_clients = flag("A row that comes out is made of several clients' updates.")
    rows_after: Declaration[Callable[[int], int] | None] = method(
        "(rows) -> int", "How many rows come out where so many went in; by default as many."
    )
    partial = flag("It can deal with `updates.presence`: what a client's level lacks stays 0, and no vote.")
    beside_params = flag(Defenses.beside_params.meaning)
    facts = flag(Defenses.facts.meaning)
    least_cohort = Defenses.least_cohort
    stale = Defenses.stale
