"""What is left of a block of clients where the server needs their sum alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...core.declarations import Mechanisms, declared
from ...core.updates import Updates, row_norms, weighted_sum
from ..exchange.messages import Summed

if TYPE_CHECKING:
    from ...core.contracts import Privacy


def summed(
    updates: Updates,
    losses: Tensor,
    weights: Tensor,
    mechanism: Privacy,
    privatize: Callable[[Updates], Updates],
) -> Summed:
    """Return a block's weighted sum, non-finite updates left out.

    Args:
        updates: What the clients trained.
        losses: Each one's mean loss.  # [K]
        weights: What each counts, float64.  # [K]
        mechanism: What happens to an update before it leaves its client.
        privatize: Does that; not asked where all it does is to multiply an update by what follows from its
            norm.
    """
    factors = _row_factors(mechanism)
    if factors is None:
        u = privatize(updates)
        norms = row_norms(u.vectors)
        raw_norms = norms if u.vectors is updates.vectors else row_norms(updates.vectors)
    else:
        u, raw_norms = updates, row_norms(updates.vectors)
        scale = factors(raw_norms)  # [K]
        weights, norms = weights * scale, raw_norms * scale
    finite = norms.isfinite() & u.buffers.sum(dim=1).isfinite()
    return Summed(
        client_ids=u.client_ids,
        total=weighted_sum(u.vectors, weights.where(finite, 0.0)),
        buffers=u.buffers[finite].double().sum(dim=0),
        num_examples=u.num_examples,
        losses=losses,
        raw_norms=raw_norms,
        norms=norms,
        finite=finite,
    )


def _row_factors(mechanism: Privacy) -> Callable[[Tensor], Tensor] | None:
    """Return what multiplies an update before it leaves, from its norm; None where more is done to it."""
    found: Any = declared(mechanism, Mechanisms.row_factors)
    return found if found is not None and found(torch.zeros(0, dtype=torch.float64)) is not None else None
