"""What every server optimiser owes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...core import trees
from ...core.declarations import Optimizers, declared
from ...core.layout import Layout
from ...core.registry import require
from ...core.wanted import is_plain, kind_of
from .stepping import stepped

if TYPE_CHECKING:
    from ...core.contracts import ServerOptimizer
    from ...core.trees import State


def _params() -> Tensor:
    return torch.linspace(-1.0, 1.0, 12)


_LAYOUT = Layout(()).followed_by(weight=(3, 3), bias=(3,))


def _step(
    optimizer: ServerOptimizer, params: Tensor, aggregate: Tensor, state: State
) -> tuple[Tensor, State]:
    return stepped(optimizer, params, aggregate, state, _LAYOUT)


def _aggregates() -> list[Tensor]:
    ramp = torch.arange(12, dtype=torch.float32)
    return [0.1 * (ramp - 5.5), 0.05 * (ramp % 3 - 1), -0.02 * ramp]


def keeps_shape_and_dtype(optimizer: ServerOptimizer) -> None:
    """The next parameters have the shape and the dtype of the last ones, and are finite."""
    for dtype in (torch.float32, torch.float64):
        state = optimizer.init()
        params = _params().to(dtype)
        for aggregate in _aggregates():
            params, state = _step(optimizer, params, aggregate.to(dtype), state)
            fits = is_plain(params) and params.shape == _params().shape and params.dtype == dtype
            require(fits, f"step gave {kind_of(params)}, expected {dtype} [12]")
            require(bool(params.isfinite().all()), "step gave parameters that are not finite")


def leaves_its_inputs_as_they_were(optimizer: ServerOptimizer) -> None:
    """Neither the parameters nor the aggregate nor the state handed in are written to."""
    state = optimizer.init()
    params = _params()
    for aggregate in _aggregates():
        before = trees.pack([params, aggregate, state])
        new, new_state = _step(optimizer, params, aggregate, state)
        same = trees.equal(trees.unpack(*before), [params, aggregate, state])
        require(same, "step wrote to its inputs")
        params, state = new, new_state


def stands_still_on_a_zero_aggregate(optimizer: ServerOptimizer) -> None:
    """With a fresh state, an aggregate of zeros leaves the parameters exactly as they are."""
    params, _ = _step(optimizer, _params(), torch.zeros(12), optimizer.init())
    require(torch.equal(params, _params()), "a zero aggregate and a fresh state moved the parameters")


def moves_along_the_aggregate_at_the_first_step(optimizer: ServerOptimizer) -> None:
    """Updates are local minus global: the first step has the aggregate's sign in every coordinate."""
    aggregate = _aggregates()[0]
    params, _ = _step(optimizer, _params(), aggregate, optimizer.init())
    moved = (params - _params()).sign()
    require(torch.equal(moved, aggregate.sign()), "the first step does not go the aggregate's way")


def continues_from_a_packed_state(optimizer: ServerOptimizer) -> None:
    """The state survives a checkpoint, and the steps after it are the same to the last bit."""
    state, restored = optimizer.init(), optimizer.init()
    params = again = _params()
    for aggregate in _aggregates():
        params, state = _step(optimizer, params, aggregate, state)
        again, restored = _step(optimizer, again, aggregate, trees.unpack(*trees.pack(restored)))
        require(trees.equal([params, state], [again, restored]), "a restored state gives another step")


def remembers_nothing_itself(optimizer: ServerOptimizer) -> None:
    """Two runs from ``init`` are equal: memory stands in the state, not in the plug-in."""
    ends = []
    for _ in range(2):
        state, params = optimizer.init(), _params()
        for aggregate in _aggregates():
            params, state = _step(optimizer, params, aggregate, state)
        ends.append(params)
    require(torch.equal(*ends), "a second run from init() went another way")


def is_memoryless_if_it_says_so(optimizer: ServerOptimizer) -> None:
    """A step with what is remembered of others before is the one with a fresh state."""
    if not declared(optimizer, Optimizers.memoryless):
        return
    state = optimizer.init()
    for aggregate in _aggregates():
        fresh, _ = _step(optimizer, _params(), aggregate, optimizer.init())
        params, state = _step(optimizer, _params(), aggregate, state)
        require(torch.equal(params, fresh), "it declares memoryless, and a later step is another one")


CHECKS: tuple[Callable[[ServerOptimizer], None], ...] = (
    keeps_shape_and_dtype,
    leaves_its_inputs_as_they_were,
    stands_still_on_a_zero_aggregate,
    moves_along_the_aggregate_at_the_first_step,
    continues_from_a_packed_state,
    remembers_nothing_itself,
    is_memoryless_if_it_says_so,
)
