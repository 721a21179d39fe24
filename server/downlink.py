"""What the server sends down before a round, and how many bytes that is."""

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


def send_down(plan: Plan, state: ServerState) -> Downlink:
    """Return what the clients of the round receive."""
    extra = plan.extra(state.params, state.optimizer)
    broadcast = Broadcast(state.round, state.params, state.buffers, extra)
    return Downlink(broadcast, state.shared, plan.bytes_down + num_bytes(state.shared))
