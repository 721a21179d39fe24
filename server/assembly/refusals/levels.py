"""What an algorithm does not go with whose clients train models of several sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ....attacks.poisoning import UPDATE_ATTACKS
from ....core.contracts import UpdateKnowledge
from ....core.declarations import (
    Algorithms,
    Codecs,
    Declaration,
    Defenses,
    PreAggregations,
    UpdateAttacks,
    declared,
    shows_sums_alone,
)
from ....core.errors import ScenarioError
from ....defenses import DEFENSES, PRE_AGGREGATIONS

if TYPE_CHECKING:
    from ....core.registry import Family
    from ..parts import Parts


def _several_sizes(parts: Parts) -> str | None:
    """Return how such an algorithm is called in a refusal; None where all clients train the whole model."""
    if not parts.brings(Algorithms.levels):
        return None
    return f"with algorithm '{parts.spec.algorithm.name}' clients have models of several sizes"


def _that_can(family: Family[Any], flag: Declaration[bool]) -> str:
    """Return the built-in members of a family that can deal with absent coordinates."""
    found = [name for name in family.table if declared(family.find(name), flag)]
    return ", ".join(found) or "none of the built-in ones"


def levels_without_an_assignment(parts: Parts) -> ScenarioError | None:
    """An algorithm with levels that tells nobody's level, or exchanges more than it or prepares something."""
    if (with_sizes := _several_sizes(parts)) is None:
        return None
    if not parts.brings(Algorithms.level):
        return ScenarioError(
            f"{with_sizes}, and it has no level(client_id, num_clients, draw) that says whose"
        )
    never = Algorithms.up, Algorithms.down, Algorithms.memory
    whole = Algorithms.prepare, Algorithms.labels, Algorithms.extra  # of a procedure: of whole models
    for verb in (*never, *(whole if parts.brings(Algorithms.work) else ())):
        if parts.brings(verb):
            return ScenarioError(
                f"{with_sizes}: it sends updates of these alone and remembers nothing, and cannot declare "
                f"{verb.name}"
            )
    if declared(parts.algorithm, Algorithms.facts):
        return ScenarioError(f"{with_sizes}, and it cannot declare facts besides")
    return None


def a_rule_that_counts_the_absent(parts: Parts) -> ScenarioError | None:
    """A defense or pre-aggregation that would take an absent coordinate for a vote for 0."""
    if (with_sizes := _several_sizes(parts)) is None:
        return None
    spec = parts.spec
    for named, plugin in zip(spec.pre_aggregations, parts.pre_aggregations, strict=True):
        if not declared(plugin, PreAggregations.partial):
            allowed = _that_can(PRE_AGGREGATIONS, PreAggregations.partial)
            return ScenarioError(
                f"{with_sizes}, and pre-aggregation '{named.name}' cannot deal with absent coordinates; "
                f"allowed: {allowed}, or one of yours that declares partial"
            )
    if declared(parts.defense, Defenses.partial):
        return None
    allowed = _that_can(DEFENSES, Defenses.partial)
    return ScenarioError(
        f"{with_sizes}, and defense '{spec.defense.name}' cannot deal with absent coordinates; allowed: "
        f"{allowed}, or one of yours that declares partial"
    )


def an_attack_on_rows_of_several_sizes(parts: Parts) -> ScenarioError | None:
    """An attack on updates that looks at several clients and does not know that some lack coordinates."""
    if (with_sizes := _several_sizes(parts)) is None:
        return None
    for role in parts.roles[1]:
        attack = role.attack
        looks = attack.knowledge is not UpdateKnowledge.OWN or declared(attack, UpdateAttacks.knows_defense)
        if looks and not declared(attack, UpdateAttacks.partial):
            alone = [name for name in UPDATE_ATTACKS.table if _looks_at_itself(name)]
            return ScenarioError(
                f"{with_sizes}, and attack '{role.kind}' looks at several clients' updates as if they had "
                f"the same coordinates; allowed: {', '.join(alone)}, attacks on data, or one of yours that "
                "declares partial"
            )
    return None


def _looks_at_itself(name: str) -> bool:
    """Return whether an attack sees its own client alone, whatever its options, or deals with presence."""
    found = UPDATE_ATTACKS.find(name)
    alone = declared(found, UpdateAttacks.knowledge) is UpdateKnowledge.OWN
    return alone or declared(found, UpdateAttacks.partial)


def a_codec_that_minds_the_size(parts: Parts) -> ScenarioError | None:
    """A codec that counts on whole vectors beforehand, or remembers messages of other coordinates."""
    if (with_sizes := _several_sizes(parts)) is None:
        return None
    codec, name = parts.codec, parts.spec.codec.name
    if declared(codec, Codecs.share) is not None:
        return ScenarioError(
            f"{with_sizes}, and codec '{name}' shares one of whole messages; use one that does not"
        )
    if declared(codec, Codecs.reads_params):
        return ScenarioError(
            f"{with_sizes}, and codec '{name}' reads the parameters of whole ones; use one that does not"
        )
    if codec.init() is not None and not declared(parts.algorithm, Algorithms.levels_stay):
        return ScenarioError(
            f"{with_sizes}, other ones in each round, and codec '{name}' remembers what clients sent before; "
            "let levels stay (heterofl: mode = 'fix'), or use a codec without a memory"
        )
    if not declared(parts.codec_down, Codecs.verbatim):
        return ScenarioError(
            f"{with_sizes}, and codec_down '{parts.spec.codec_down.name}' encodes whole ones; use identity"
        )
    return None


def a_sum_of_several_sizes(parts: Parts) -> ScenarioError | None:
    """Secure aggregation, under which the server sees one sum and no coordinate's own count."""
    with_sizes = _several_sizes(parts)
    if with_sizes is None or not shows_sums_alone(parts.mechanism):
        return None
    return ScenarioError(
        f"{with_sizes}, and with privacy '{parts.spec.privacy.name}' the server sees only the sum of whole "
        "messages; use a mechanism that shows it single ones, such as gaussian with defense mean and "
        "weighting = 'fixed'"
    )


def a_plant_that_small_models_lack(parts: Parts) -> ScenarioError | None:
    """A defense that plants something in the whole model, of which smaller ones have a part."""
    with_sizes = _several_sizes(parts)
    if with_sizes is None or declared(parts.defense, Defenses.prepare) is None:
        return None
    return ScenarioError(
        f"{with_sizes}, and defense '{parts.spec.defense.name}' plants something in whole ones before a "
        "round; leave out one of the two"
    )


def canaries_of_no_size(parts: Parts) -> ScenarioError | None:
    """An audit's canaries, which send whole messages."""
    with_sizes = _several_sizes(parts)
    if with_sizes is None or not parts.audit.num_canaries:
        return None
    return ScenarioError(
        f"{with_sizes}, and audit '{parts.spec.audit.name}' sends whole ones; leave out one of the two"
    )
