"""What the server's plug-ins may declare: samplers, networks, optimizers, schedules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from .declaration import FLAG, Declaration, Table, count, flag, method, word, words

if TYPE_CHECKING:
    from ..contracts.server import Sampling


class Samplers(Table):
    """What a sampler may say of itself."""

    periodic = flag(
        "Its cohorts hang together over rounds: `sample` gets the same stream in each, and the round besides."
    )
    sampling_at: Declaration[Callable[[int, int], Sampling] | None] = method(
        "(num_clients, round) -> Sampling", "How it samples in one round, where rounds differ."
    )


class Networks(Table):
    """What a network may say of itself."""

    blind = flag("Who arrives does not depend on anybody's data; otherwise central privacy proves nothing.")
    complete = flag("Every message arrives.")
    timed_by = words(
        "What a message's delay depends on: `examples` (how many its client has), `bytes` (its length).",
        careful=("examples", "bytes"),
    )
    may_lose: Declaration[bool | None] = Declaration(
        FLAG, None, "A message may not arrive, as configured; by default, unless it is `complete`."
    )


class Optimizers(Table):
    """What a server optimizer may say of itself."""

    extras = count(0, "How many vectors the server sends besides the parameters.")
    extra: Declaration[Callable[[Tensor, Any], Tensor] | None] = method(
        "(params, state) -> Tensor", "Which vectors these are.  # [E, P]"
    )
    gain: Declaration[Callable[[Any], float] | None] = method(
        "(state) -> float",
        "What the next aggregate is multiplied by in the parameters after it; silent: they are no multiple.",
    )
    posterior: Declaration[Callable[[Any], list[Tensor]] | None] = method(
        "(state) -> list of Tensor", "The posterior samples that it has kept so far, [P] each."
    )
    unproved = word("no_mechanism", "Why it proves nothing without a privacy mechanism.")


class Schedules(Table):
    """What a schedule may say of itself."""

    plain = flag("All who are drawn begin at once, and whatever the network lets arrive counts in the round.")
    size: Declaration[Callable[[float], float] | None] = method(
        "(drawn) -> float",
        "How many messages count in a round, at least 1, where so many clients are expected to be drawn: the "
        "public denominator; silent: as many as are drawn.",
    )
    weights: Declaration[Callable[[Tensor, Tensor], Tensor] | None] = method(
        "(staleness, num_examples) -> Tensor",
        "What an update is multiplied by, after clipping, whose client began so many rounds ago, float64 "
        "[K], at least 0; silent: 1.",
    )
    bounded = flag("No weight is above 1; otherwise central privacy proves nothing.")
    gain: Declaration[Callable[[float], float] | None] = method(
        "(counted) -> float", "What the noised aggregate of so many messages is multiplied by; silent: 1."
    )
