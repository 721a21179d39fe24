"""What clients do to their messages before these leave, whatever trained them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...core.seeds import generator
from ...core.updates import Context

if TYPE_CHECKING:
    from ...core.contracts import Privacy
    from ...core.layout import Layout
    from ...core.updates import Updates
    from ..exchange.messages import Broadcast


def privatized(
    privacy: Privacy, updates: Updates, broadcast: Broadcast, layout: Layout, seed: int, noise_seed: int
) -> Updates:
    """Return a block's messages as a mechanism lets them out; what is stated beside them stays.

    Args:
        privacy: The mechanism, which sees no facts.
        updates: The messages.  # [K, M]
        broadcast: What the clients received.
        layout: How a message lies in a vector.
        seed: The run's seed.
        noise_seed: What the noise follows from.
    """
    context = Context(broadcast.round, broadcast.params, layout, seed)
    told = replace(updates.with_facts(None), context=context)
    private = privacy.privatize(
        told, lambda client_id: generator(noise_seed, "client noise", broadcast.round, client_id)
    )
    return replace(private, context=None, facts=updates.facts)
