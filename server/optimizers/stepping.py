"""How the server takes a step: with the layout of the parameters, where an optimizer asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ...core.declarations import Optimizers, declared

if TYPE_CHECKING:
    from torch import Tensor

    from ...core.contracts import ServerOptimizer
    from ...core.layout import Layout
    from ...core.trees import State


def stepped(
    optimizer: ServerOptimizer, params: Tensor, aggregate: Tensor, state: State, layout: Layout
) -> tuple[Tensor, State]:
    """Return the parameters after a step along an aggregate [P], and the optimizer's memory."""
    told = (layout,) if declared(optimizer, Optimizers.by_tensor) else ()
    found: tuple[Tensor, State] = cast(Any, optimizer).step(params, aggregate, state, *told)
    return found
