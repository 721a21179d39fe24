"""What a malicious server does before a round: other parameters than its own, the same for every client."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from ...core.declarations import name_of
from ...core.errors import PluginError
from ...core.seeds import generator

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.contracts import Secret
    from ..plan import Plan
    from ..state import ServerState


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
    """Let the server put what it likes into the parameters that would go down [P]; its own stay.

    Raises:
        PluginError: It planted something, and declares that it does not: a guarantee counts on that.
    """
    stream = generator(plan.seed, "server", state.round)
    planted, secret, memory = plan.server.plant(params, state.server, stream)
    if plan.honest and (secret or not (planted is params or torch.equal(planted, params))):
        raise PluginError(
            f"server {name_of(plan.server)} declares deviates = 'nothing', and planted something in round "
            f"{state.round}; allowed: 'parameters' or 'model'"
        )
    return replace(state, server=memory), Planted(planted, {**plan.inserted, **secret})
