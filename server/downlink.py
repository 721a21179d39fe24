"""What the server sends down before a round, and how many bytes that is."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..clients.messages import Broadcast
from ..core.trees import State, num_bytes
from .plan import Plan
from .state import ServerState


@dataclass(frozen=True)
class Downlink:
    """What every client of a round's cohort receives.

    Attributes:
        broadcast: What its worker needs to train it.
        shared: What both sides of the codec know of the round; None where it shares nothing.
        size: How many bytes one client receives.
    """

    broadcast: Broadcast
    shared: State
    size: int


def send_down(plan: Plan, state: ServerState, client_ids: Sequence[int]) -> Downlink:
    """Return what these clients receive in the round."""
    broadcast = broadcast_of(plan, state, client_ids)
    return Downlink(broadcast, state.shared, plan.bytes_down + num_bytes(state.shared))


def broadcast_of(plan: Plan, state: ServerState, client_ids: Sequence[int]) -> Broadcast:
    """Return what the server sends to these clients, with what each of them remembers."""
    return Broadcast(
        round=state.round,
        params=state.params,
        buffers=state.buffers,
        extra=plan.extra(state.params, state.optimizer),
        memory=plan.memory(state.clients, state.params, client_ids),
        message_length=plan.exchange.up.num_parameters,
    )
