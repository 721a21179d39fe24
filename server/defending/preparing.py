"""What a defense puts into the parameters before they go down: a task whose fate tells clients apart.

Clients train from what they receive, and their updates are relative to that. The server keeps its own
parameters, and applies the aggregate to those.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...core.declarations import Defenses, declared, name_of
from ...core.errors import PluginError
from ...core.updates import all_finite

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.updates import Context
    from ..plan import Plan
    from ..state import ServerState


def prepared(plan: Plan, state: ServerState) -> tuple[ServerState, Tensor]:
    """Return the state, and the parameters [P] that go down: the server's own, if the defense plants nothing.

    Raises:
        PluginError: What it planted is not finite.
    """
    verb = declared(plan.defense, Defenses.prepare)
    if verb is None:
        return state, state.params
    told: tuple[Context, ...] = ()
    if declared(plan.defense, Defenses.trains_models):
        told = (plan.context(state.round, state.params, state.buffers, None),)
    params, memory = verb(state.params, state.defense, *told)
    if not all_finite(params):
        raise PluginError(f"defense {name_of(plan.defense)}: prepare returned NaN or infinity")
    return replace(state, defense=memory), params
