"""What a malicious server does before a round: other parameters than its own, the same for every client."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..core.seeds import generator

if TYPE_CHECKING:
    from torch import Tensor

    from ..core.contracts import Secret
    from .plan import Plan
    from .state import ServerState


@dataclass(frozen=True)
class Planted:
    """What goes down in a round, before any codec.

    Attributes:
        params: The parameters; the server's own, if it is honest and its defense plants nothing.  # [P]
        secret: What the server knows of what it did to them and to the model; nothing, if it is honest.
    """

    params: Tensor
    secret: Secret


def plant(plan: Plan, state: ServerState, params: Tensor) -> tuple[ServerState, Planted]:
    """Let the server put what it likes into the parameters that would go down [P]; its own stay."""
    stream = generator(plan.seed, "server", state.round)
    planted, secret, memory = plan.server.plant(params, state.server, stream)
    return replace(state, server=memory), Planted(planted, {**plan.inserted, **secret})
