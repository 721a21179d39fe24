"""What a schedule does not go with, of those that do not count a whole cohort in the round it began in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ....core.declarations import (
    Algorithms,
    Codecs,
    Defenses,
    Schedules,
    Servers,
    declared,
    shows_sums_alone,
)
from ....core.errors import ScenarioError
from ...cohort.rows import steps_of
from ...cohort.sampling import weighs_counts

if TYPE_CHECKING:
    from ..parts import Parts


def _who(parts: Parts) -> str | None:
    """Return what messages call a schedule that is not plain; None of one that is."""
    plain = declared(parts.schedule, Schedules.plain)
    return None if plain else f"schedule '{parts.spec.schedule.name}'"


def more_messages_than_clients(parts: Parts) -> ScenarioError | None:
    """A schedule that counts more messages in a round than there are clients: each has one at most."""
    who, size, clients = _who(parts), parts.sampling.expected_size, parts.population
    if who is None or size <= clients:
        return None
    return ScenarioError(
        f"{who} counts {size:g} messages in a round, and each of {clients} clients has one at most; "
        f"allowed: up to {clients}"
    )


def a_sum_of_other_rounds(parts: Parts) -> ScenarioError | None:
    """Secure aggregation of messages that did not begin together: whose noise will meet is not known."""
    if (who := _who(parts)) is None or not shows_sums_alone(parts.mechanism):
        return None
    return ScenarioError(
        f"{who} counts messages of clients that did not begin together, and privacy "
        f"'{parts.spec.privacy.name}' sums those of one cohort; use schedule synchronous"
    )


def canaries_that_change_who_comes(parts: Parts) -> ScenarioError | None:
    """An audit: a canary that is absent would leave its place to others, whose messages tell of it."""
    if (who := _who(parts)) is None or not parts.audit.num_canaries:
        return None
    return ScenarioError(
        f"audit '{parts.spec.audit.name}' compares canaries that take part with absent ones, and under {who} "
        "others begin in their place; use schedule synchronous"
    )


def a_schedule_that_weighs_examples(parts: Parts) -> ScenarioError | None:
    """A schedule that weighs messages by examples, with an algorithm whose clients must count alike."""
    who, alike = _who(parts), declared(parts.algorithm, Algorithms.weighs_alike)
    if who is None or not alike or not weighs_counts(parts.schedule):
        return None
    return ScenarioError(
        f"algorithm '{parts.spec.algorithm.name}' needs all clients to count alike, and {who} weighs their "
        "messages by their examples; leave its example_weight out"
    )


def a_server_half_that_takes_fresh_messages(parts: Parts) -> ScenarioError | None:
    """An algorithm whose server half counts on messages of clients that all hold the same parameters."""
    half = any(map(parts.brings, (Algorithms.step, Algorithms.sample)))
    everybody = declared(parts.algorithm, Algorithms.full_participation)
    half = (half and not declared(parts.schedule, Schedules.fresh)) or everybody
    if (who := _who(parts)) is None or not half or declared(parts.algorithm, Algorithms.stale):
        return None
    return ScenarioError(
        f"algorithm '{parts.spec.algorithm.name}' counts on messages that began in the same round"
        f"{', of everybody' if everybody else ''}, and {who} may count {'fewer' if everybody else 'older'} "
        "ones; use schedule synchronous"
    )


def a_memory_of_fresh_messages(parts: Parts) -> ScenarioError | None:
    """A defense or pre-aggregation that remembers rounds, and does not say that it takes stale messages."""
    if (who := _who(parts)) is None or declared(parts.schedule, Schedules.fresh):
        return None
    for noun, named, plugin in steps_of(parts.spec, parts.pre_aggregations, parts.defense):
        memory: Any = plugin
        if memory.init() is not None and not declared(plugin, Defenses.stale):
            return ScenarioError(
                f"{noun} '{named.name}' remembers earlier rounds and counts on messages that all began in "
                f"one, and {who} may count older ones; use schedule synchronous"
            )
    return None


def a_way_from_now_that_messages_do_not_have(parts: Parts) -> ScenarioError | None:
    """A schedule that counts from the present parameters, and messages that are no updates of these alone."""
    if not declared(parts.schedule, Schedules.from_now):
        return None
    spec, own = parts.spec, (Algorithms.up, Algorithms.levels, Algorithms.factors)
    others = parts.brings(Algorithms.step) or any(declared(parts.algorithm, verb) for verb in own)
    plants = declared(parts.defense, Defenses.prepare) is not None
    keeps = declared(parts.codec, Codecs.kept_mean) is not None
    dishonest = declared(parts.server, Servers.deviates) != "nothing"
    reasons = {
        f"algorithm '{spec.algorithm.name}' sends others; use one such as fedavg or fedprox": others,
        f"codec '{spec.codec.name}' keeps a mean of what was sent; use another": keeps,
        f"defense '{spec.defense.name}' plants something in what clients start from; use another": plants,
        f"server '{spec.server.name}' plants others; use honest": dishonest,
    }
    why = next((reason for reason, holds in reasons.items() if holds), None)
    if why is None:
        return None
    return ScenarioError(
        f"schedule '{spec.schedule.name}' counts ways from the server's parameters to a client's, and {why}"
    )
