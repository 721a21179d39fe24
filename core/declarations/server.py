"""What the server's plug-ins may declare: samplers, networks, optimizers, schedules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

from .declaration import FLAG, Declaration, Table, flag, method, number, words

if TYPE_CHECKING:
    from ..contracts.server import Array


class Networks(Table):
    """What a network may say of itself."""

    blind = flag(
        "Who arrives does not depend on anybody's data; otherwise central privacy proves nothing."
    ).of("deliver")
    complete = flag("Every message arrives.").of("deliver")
    timed_by = words(
        "What a message's delay depends on: `examples` (how many its client has), `bytes` (its length).",
        careful=("examples", "bytes"),
    )
    gives_up_after: Declaration[float | None] = number(
        None,
        "After how many virtual seconds a message counts no more; infinite: never. Silent: not known, and no "
        "[link] may go with a network that is not `complete`.",
    )
    may_lose: Declaration[bool | None] = Declaration(
        FLAG, None, "A message may not arrive, as configured; by default, unless it is `complete`."
    )
    own_seconds: Declaration[Callable[[Array, int, int], Array] | None] = method(
        "(client_ids, round, seed) -> Array",
        "What clients who begin in a round take besides what `deliver` says, in seconds, float64 [K], at "
        "least 0: by their ids, the round and the run's seed alone. Such a network gives up no message that "
        "it does not lose; silent: nothing.",
    )


class Schedules(Table):
    """What a schedule may say of itself."""

    plain = flag(
        "All who are drawn begin at once, and whatever the network lets arrive counts in the round."
    ).of("starts", "arrivals")
    fresh = flag(
        "Whatever counts in a round began in it, as under a `plain` one, though not all who began need count."
    ).of("starts", "arrivals")
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
    from_now = flag(
        "A message counts as the way from the server's present parameters to its client's, in the place of "
        "what the client changed: after clipping, and before its weight."
    )
    gain: Declaration[Callable[[float], float] | None] = method(
        "(counted) -> float", "What the noised aggregate of so many messages is multiplied by; silent: 1."
    )
