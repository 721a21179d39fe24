"""Messages as ways from the server's present parameters to its clients', where a schedule takes them so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ...core.declarations import Schedules, declared
from ...core.updates import concatenate

if TYPE_CHECKING:
    from ...core.contracts import Verdict
    from ...core.updates import Updates
    from ..plan import Plan
    from ..state import ServerState
    from .mailbox import Downlink


def from_now(
    plan: Plan, state: ServerState, updates: Updates, came: Updates, downs: Mapping[int, Downlink]
) -> Updates:
    """Return messages as ways from the present parameters to the clients', where the schedule takes them so.

    What is added is public: how far the server has gone since it broadcast what a client began with. Under
    central privacy that of a refused message counts, too, as if its client had changed nothing: otherwise its
    data would decide whether the model goes that way, which may be any number of clip norms.

    Args:
        plan: What stays.
        state: Before the round.
        updates: The messages that were read, clipped.  # [K, P]
        came: All messages that count in the round, refused ones among them.
        downs: What was received in each round in which one of them began, by round.
    """
    if not declared(plan.schedule, Schedules.from_now) or not len(came):
        return updates
    if plan.privacy.trust_model == "central":
        lost = came.rows(~torch.isin(came.client_ids, updates.client_ids))
        nothing = lost.with_vectors(torch.zeros_like(lost.vectors))
        updates = replace(concatenate([updates, nothing], updates.expected_size), context=updates.context)
    if not len(updates):
        return updates
    gone = [downs[began].broadcast.params - state.params for began in updates.started.tolist()]
    return updates.with_vectors(updates.vectors + torch.stack(gone))  # [K, P]


def without_refused(verdict: Verdict, asked: Updates, received: Updates) -> Verdict:
    """Return a verdict whose weights are those of the messages that were read alone.

    Args:
        verdict: What was decided.
        asked: About which messages.
        received: Those of them that were read.
    """
    if len(asked) <= len(received) or verdict.weights is None or len(verdict.weights) != len(asked):
        return verdict
    return replace(verdict, weights=verdict.weights[torch.isin(asked.client_ids, received.client_ids)])
