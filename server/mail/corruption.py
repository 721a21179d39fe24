"""Let the malicious clients of a cohort rewrite their updates, each attack with the view it declares."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...core.contracts import UpdateAttack, UpdateKnowledge, Verdict, View
from ...core.declarations import UpdateAttacks, declared
from ...core.seeds import generator
from ...core.updates import Updates, concatenate, finite_rows
from ..defending.decision import decide
from ..guarantee.sight import announced_size
from .facts import factored, stated_by

if TYPE_CHECKING:
    from ...core.presence import Presence
    from ...core.roles import Role
    from ...core.trees import State
    from ..plan import Plan
    from ..state import ServerState


def corrupt(
    plan: Plan, updates: Updates, state: ServerState, root: Tensor | None = None, group: int = 0
) -> tuple[Updates, tuple[State, ...]]:
    """Return what clients that begin together really send, and the attacks' memories.

    Every attack starts from the honest updates; none sees what another one makes of its rows. Besides the
    honest messages that are sent with its own, an omniscient one sees those that are not counted yet.

    Args:
        plan: What stays.
        updates: What they would send.
        state: The server's, with the parameters that they received.
        root: The server's own update [P], for those who may ask what the server would decide.
        group: How many groups have begun in the round before them.
    """
    if not plan.attacks:
        return updates, state.attacks
    malicious = plan.malicious(state.round)
    attackers = torch.tensor(sorted(malicious), dtype=torch.int64)
    honest_rows = ~torch.isin(updates.client_ids, attackers)  # an audit's canaries among them
    sent, memories = updates, list(state.attacks)
    for number, role in enumerate(plan.attacks):
        who = torch.tensor(role.attackers(state.round), dtype=torch.int64)
        rows = torch.isin(updates.client_ids, who)
        if not bool(rows.any()):
            continue
        mine, own = _handed(updates.rows(rows), role.attack)
        asks = declared(role.attack, UpdateAttacks.knows_defense)
        knows_all = role.attack.knowledge is UpdateKnowledge.OMNISCIENT
        view = View(
            round=state.round,
            params=state.params,
            cohort_size=announced_size(plan, role.attack, len(updates)),
            honest=_stating(_seen(plan, state, updates.rows(honest_rows)), role.attack)
            if knows_all
            else None,
            generator=generator(plan.seed, "attack", number, state.round, *([group] if group else [])),
            aggregate=_guess(plan, state, number, root, updates) if asks else None,
        )
        lies, memories[number] = _lie(plan, role, number, own, view, memories[number], mine)
        if sent is updates:
            sent = replace(
                updates,
                vectors=updates.vectors.clone(),
                num_examples=updates.num_examples.clone(),
                facts=updates.facts.clone(),
            )
        sent.vectors[rows] = lies.vectors if mine is None else mine.masked(lies.vectors)
        sent.num_examples[rows] = lies.num_examples
        if own.facts.shape[1]:
            sent.facts[rows] = lies.facts
    return sent, tuple(memories)


def _handed(own: Updates, attack: UpdateAttack) -> tuple[Presence | None, Updates]:
    """Return what an attack's clients have, and their updates: with it for an attack that can deal with that.

    Whatever it makes of coordinates that its clients do not have, nothing of it can be sent.
    """
    partial = declared(attack, UpdateAttacks.partial)
    return own.presence, _stating(own if partial else own.bare(), attack)


def _stating(updates: Updates, attack: UpdateAttack) -> Updates:
    """Return updates with what their clients state beside them, for an attack that says so, and without."""
    return updates if declared(attack, UpdateAttacks.facts) else updates.with_facts(None)


def _received(view: View, mine: Presence | None) -> View:
    """Return the view with the parameters that these clients received, 0 where none of them has one."""
    if mine is None:
        return view
    return replace(view, params=view.params.where(mine.levels[mine.level].any(dim=0), 0.0))


def _seen(plan: Plan, state: ServerState, honest: Updates) -> Updates:
    """Return the honest messages that an omniscient attack sees: those sent with its own, and in flight."""
    if state.mailbox is None:
        return honest
    parts = [honest.bare()]
    for updates in (group.updates for group in state.mailbox.groups):
        liars = torch.tensor(sorted(plan.malicious(int(updates.started[0]))), dtype=torch.int64)
        parts.append(plan.with_presence(updates.rows(~torch.isin(updates.client_ids, liars))))
    return plan.with_presence(concatenate(parts, honest.expected_size))


def _guess(
    plan: Plan, state: ServerState, number: int, root: Tensor | None, cohort: Updates
) -> Callable[[Updates], Verdict]:
    """Return what an attack may ask: the server's decision on a cohort, of which nothing is remembered.

    An attacker knows the rules, not the dice: a defense that draws does so from another seed. What clients
    state beside their updates counts as in the round, whether the attack sees it or not; messages that are
    not finite are left out, as there, and weigh nothing.
    """
    seed = int(generator(plan.seed, "guess", number, state.round).integers(2**31))
    context = plan.context(state.round, state.params, state.buffers, root, seed)

    def aggregate(asked: Updates) -> Verdict:
        finite = finite_rows(asked)
        updates = asked.rows(finite)
        bare = replace(updates, context=context).with_facts(None)
        clipped, _ = plan.privacy.clip(bare, deepcopy(state.privacy))
        if plan.exchange.statement:
            in_flight = () if state.mailbox is None else state.mailbox.groups
            look_up = stated_by([*(group.updates for group in in_flight), cohort])
            facts = updates.facts if updates.facts.shape[1] else look_up(updates.client_ids)
            clipped = factored(plan, clipped, facts).with_facts(facts)
        verdict = decide(plan, clipped, deepcopy(state.pre_aggregations), deepcopy(state.defense)).verdict
        return _of_all(verdict, finite)

    return aggregate


def _of_all(verdict: Verdict, counted: Tensor) -> Verdict:
    """Return a verdict on the rows that are ``counted`` [K] as one on all of them, where it has weights."""
    if verdict.weights is None or len(verdict.weights) != int(counted.sum()):
        return verdict
    weights = verdict.weights.new_zeros(len(counted)).masked_scatter(counted, verdict.weights)
    return replace(verdict, weights=weights)


def _lie(
    plan: Plan,
    role: Role[UpdateAttack],
    number: int,
    own: Updates,
    view: View,
    memory: State,
    mine: Presence | None,
) -> tuple[Updates, State]:
    if role.attack.knowledge is not UpdateKnowledge.OWN:
        omniscient = role.attack.knowledge is UpdateKnowledge.OMNISCIENT
        lies, memory = role.attack.corrupt(own, view if omniscient else _received(view, mine), memory)
        return lies, memory
    memory, vectors, counts = dict(memory), own.vectors.clone(), own.num_examples.clone()
    facts = own.facts.clone()
    for row, client_id in enumerate(own.client_ids.tolist()):
        here = torch.tensor([row])
        alone, seen = own.rows(here), _received(view, mine and mine.rows(here))
        stream = generator(plan.seed, "attack", number, view.round, client_id)
        before = memory[client_id] if client_id in memory else role.attack.init()
        lie, memory[client_id] = role.attack.corrupt(alone, replace(seen, generator=stream), before)
        vectors[row], counts[row], facts[row] = lie.vectors[0], lie.num_examples[0], lie.facts[0]
    return replace(own, vectors=vectors, num_examples=counts, facts=facts, presence=None), memory
