"""What attackers see of other clients, and what that leaves of a guarantee.

Central and distributed privacy bound how far one client moves the aggregate by its own message. An attacker
whose message follows from other clients' unprotected updates moves with them, so that nothing is bounded.

| reason | a client moves other clients' messages, because |
|---|---|
| attackers_see_updates | an attack was handed honest clients' updates, or what the server remembers of them |
| attackers_see_cohort | what attackers send follows from who was drawn, which counts as unknown |

A malicious server is another matter (``observer``): it sees each client's message itself, before any noise of
its own, and asks for what it likes to see.

Attackers that see only each other's data, or the public broadcast, are no reason: their messages are the
same whoever else takes part. Under local trust nothing of this matters, since updates are private already,
unless the numbers of examples beside them are not public.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from ...core.contracts import UpdateAttack, UpdateKnowledge
from ...core.declarations import Mechanisms, UpdateAttacks, declared

if TYPE_CHECKING:
    from ...core.roles import Role
    from ..plan import Plan

UPDATES, COHORT, OBSERVER = "attackers_see_updates", "attackers_see_cohort", "observer"


def blinded(plan: Plan) -> bool:
    """Return whether a guarantee rests on attackers that see nothing of others.

    Under local trust it does where an update comes with a number of examples that is not public.
    """
    if plan.privacy.trust_model == "local":
        return not counts_are_public(plan)
    return plan.privacy.trust_model != "none"


def counts_are_public(plan: Plan) -> bool:
    """Return whether neighbours hold equally many examples, so that these may be sent in the clear."""
    return "num_examples" in declared(plan.privacy, Mechanisms.public)


def sees_updates(role: Role[UpdateAttack]) -> bool:
    """Return whether what an attack is handed in a round follows from honest clients' updates.

    Where attackers are drawn anew in every round, who colludes in one is honest in another.
    """
    knowledge = role.attack.knowledge
    colludes = knowledge is UpdateKnowledge.COLLUDERS
    return knowledge is UpdateKnowledge.OMNISCIENT or (colludes and role.sampled is not None)


def asks_a_memory(plan: Plan, role: Role[UpdateAttack], round_: int) -> bool:
    """Return whether an attack may ask a rule that remembers the updates of rounds before."""
    memories = [plan.defense.init(), *(plugin.init() for plugin in plan.pre_aggregations)]
    asks = declared(role.attack, UpdateAttacks.knows_defense)
    return asks and round_ > 0 and any(memory is not None for memory in memories)


def exposed(
    plan: Plan, round_: int, cohort: Collection[int], relation: str, amplified: bool = False
) -> str | None:
    """Return why what attackers see in a round leaves no guarantee, or None.

    It depends on the server, roles, sampling and options alone, never on an update, so that it is known
    beforehand.

    Args:
        plan: What stays.
        round_: The round, from 0.
        cohort: The clients that were drawn for it.
        relation: What neighbours differ in.
        amplified: Whether the round is charged less because nobody learns who was drawn.
    """
    if not blinded(plan):
        return None
    if not plan.honest:
        return OBSERVER
    for role in plan.attacks:
        sees = sees_updates(role) or asks_a_memory(plan, role, round_)
        if sees and _attacks(role, round_, cohort):
            return UPDATES
    drawn = any(role.sampled is not None and role.active(round_) for role in (*plan.poisons, *plan.attacks))
    if drawn and (relation == "add_remove" or amplified):
        return COHORT
    return COHORT if amplified and _tells_who_came(plan, round_) else None


def _tells_who_came(plan: Plan, round_: int) -> bool:
    """Return whether attackers' messages tell that a client took an attacker's place in the cohort.

    In a cohort of fixed size a client comes in another's place, which amplification allows for as far as it
    moves that one's row. An attacker that stays away also moves the rows of those who collude with it, and
    later rows of its own where its attack remembers.
    """
    if plan.sampling.scheme != "fixed_size":
        return False
    apart = (
        role.attack.knowledge is UpdateKnowledge.OWN and role.attack.init() is None for role in plan.attacks
    )
    return any(role.active(round_) and not alone for role, alone in zip(plan.attacks, apart, strict=True))


def _attacks(role: Role[Any], round_: int, cohort: Collection[int]) -> bool:
    """Return whether an attack has a client in a cohort, or may have: a draw follows the cohort's size."""
    if role.sampled is not None:
        return role.active(round_)
    return not set(role.attackers(round_)).isdisjoint(cohort)


def announced_size(plan: Plan, attack: UpdateAttack, came: int) -> int:
    """Return the cohort size that an attack is told of.

    The true one, ``came``; where it is to stay blind to other clients, or where others will count than
    those who begin together, the public, expected one.
    """
    if not plan.plain or (blinded(plan) and attack.knowledge is not UpdateKnowledge.OMNISCIENT):
        return max(round(plan.sampling.expected_size), 1)
    return came
