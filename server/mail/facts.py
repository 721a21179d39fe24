"""What clients state beside their messages, as the server uses it: before the defense, and in its step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...core.contracts import Facts
from ...core.declarations import Algorithms, declared

if TYPE_CHECKING:
    from ...core.updates import Updates
    from ..plan import Plan


def step_facts(plan: Plan, received: Updates, weights: Tensor | None) -> Facts | None:
    """Return what the server half is told of a cohort; None of an algorithm whose clients state nothing."""
    if not plan.exchange.statement:
        return None
    return facts_told(plan, received, weights, declared(plan.optimizer, Algorithms.sees_messages))


def facts_told(plan: Plan, updates: Updates, weights: Tensor | None = None, whole: bool = False) -> Facts:
    """Return what the clients of a cohort stated.

    Args:
        plan: What stays.
        updates: The messages that are counted, with their facts.
        weights: What each counts in the aggregate; None, or none that is above 0: all alike.  # [K]
        whole: Whether to tell the messages besides.
    """
    statement, size = plan.exchange.statement, len(updates)
    alike = torch.ones(size, dtype=torch.float64)
    shares = alike if weights is None or len(weights) != size else weights.double().clamp(min=0)
    if not 0 < float(shares.sum()) < float("inf"):
        shares = alike
    return Facts(
        client_ids=updates.client_ids,
        num_examples=updates.num_examples,
        weights=shares / shares.sum(),
        training=statement.training,
        values=dict(zip(statement.names, updates.facts.unbind(dim=1), strict=True)),
        messages=plan.exchange.unscaled(updates.vectors) if whole else None,
    )


def factored(plan: Plan, updates: Updates, facts: Tensor) -> Updates:
    """Return the messages with their updates times what follows from what their clients state, [K, F].

    What leaves the range of the numbers stays at its end, so that no client's message ends a run.
    """
    factors = declared(plan.optimizer, Algorithms.factors)
    if factors is None or not plan.exchange.statement:
        return updates
    found = factors(facts_told(plan, updates.with_facts(facts))).to(updates.vectors.dtype)  # [K]
    vectors = plan.exchange.with_update_times(updates.vectors, found[:, None])
    most = torch.finfo(vectors.dtype).max
    return updates.with_vectors(vectors.clamp(-most, most))


def stated_by(parts: Sequence[Updates]) -> Callable[[Tensor], Tensor]:
    """Return what looks up the facts of clients by id, [K] to [K, F]; of unknown clients the mean."""
    known = {i: row for part in parts for i, row in zip(part.client_ids.tolist(), part.facts, strict=True)}
    typical = torch.stack(list(known.values())).mean(dim=0)
    return lambda client_ids: torch.stack([known.get(i, typical) for i in client_ids.tolist()])
