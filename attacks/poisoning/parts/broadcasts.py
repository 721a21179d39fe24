"""What a client can tell from the models that it received: how the server moved them."""

from typing import Any

from torch import Tensor

from ....core.contracts import View
from ....core.trees import State


def no_broadcast() -> dict[str, Any]:
    """Return the memory of an attacker that has received nothing yet."""
    return {"round": -1, "params": None}


def last_move(view: View, state: State) -> tuple[Tensor | None, State]:
    """Return (the global update a round since the broadcast remembered, or None; the memory).  # [P]"""
    move = None
    if state["params"] is not None and view.round > state["round"]:
        move = (view.params - state["params"]) / (view.round - state["round"])
    return move, {"round": view.round, "params": view.params}
