"""Mimic: all attackers copy one honest client, which then counts too much.

Source: Karimireddy, He, Jaggi. Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing. ICLR
2022. arXiv:2006.09365; a fixed victim as in ByzFL, arXiv:2505.24802
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...core.contracts import UpdateKnowledge, View
from ...core.seeds import normal
from ...core.trees import State
from ...core.updates import Updates
from .parts.geometry import along, combination
from .parts.moments import mean_and_std, send_all

POWER_STEPS = 10


@dataclass(frozen=True)
class Mimic:
    """Send the update of one honest client, from every attacker.

    Without a ``victim``, the attackers watch for ``warmup_rounds``: in each they follow the direction in
    which honest updates differ the most (power iteration on the round's covariance, averaged over the
    rounds), and copy the client farthest along it, on either side. With the last of them they settle on
    that client.

    Where the victim is not in the cohort, or attacks itself, the farthest one is copied; with a ``victim``
    given, the honest client of the lowest id. In a cohort without honest clients, the first attacker is.

    Attributes:
        victim: The client id to copy, from 0; None lets the attackers choose.
        warmup_rounds: Attacked rounds before the choice is final, at least 1.
    """

    victim: int | None = None
    warmup_rounds: int = 5

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.OMNISCIENT

    def __post_init__(self) -> None:
        if self.victim is not None and self.victim < 0:
            raise ValueError(f"victim must be a client id from 0, or None, got {self.victim}")
        if self.warmup_rounds < 1:
            raise ValueError(f"warmup_rounds must be at least 1, got {self.warmup_rounds}")

    def init(self) -> dict[str, Any]:
        return {"rounds": 0, "direction": None, "victim": self.victim}

    def corrupt(self, own: Updates, view: View, state: State) -> tuple[Updates, State]:
        if view.honest is None or len(view.honest) == 0:
            return send_all(own, own.vectors[0]), state
        honest = view.honest
        if self.victim is not None:
            return send_all(own, honest.vectors[_row(honest, self.victim, 0)]), state
        if state["victim"] is None:
            state = self._watch(honest, view, state)
        elif state["victim"] in honest.client_ids:
            return send_all(own, honest.vectors[_row(honest, state["victim"], 0)]), state
        mean, _ = mean_and_std(honest.vectors)
        row = _farthest(honest.vectors, mean, state["direction"])
        if state["victim"] is None and state["rounds"] >= self.warmup_rounds:
            state = {**state, "victim": int(honest.client_ids[row])}
        return send_all(own, honest.vectors[row]), state

    def _watch(self, honest: Updates, view: View, state: State) -> State:
        """Return the memory with this round's direction in it."""
        rounds, before = state["rounds"], state["direction"]
        if before is None:
            before = normal(view.generator, honest.vectors.shape[1], 1.0).double()
        now = _top_direction(honest.vectors, before)
        direction = now if rounds == 0 else _unit(rounds * before + now)
        return {**state, "rounds": rounds + 1, "direction": direction}


def _row(honest: Updates, client_id: int, otherwise: int) -> int:
    found = (honest.client_ids == client_id).nonzero().flatten().tolist()
    return int(found[0]) if found else otherwise


def _unit(vector: Tensor) -> Tensor:
    norm = torch.linalg.vector_norm(vector)
    return vector / norm if norm > 0 else vector


def _top_direction(honest: Tensor, start: Tensor) -> Tensor:
    """Return the direction of largest variance, by power iteration from ``start``.  # [P]"""
    mean, _ = mean_and_std(honest)
    direction = _unit(start)
    for _ in range(POWER_STEPS):
        _, inner = along(honest, mean, direction)
        moved = _unit(combination(honest, mean, inner))
        if not bool(moved.any()):
            return direction  # all updates are equal
        direction = moved
    return direction


def _farthest(honest: Tensor, mean: Tensor, direction: Tensor) -> int:
    return int(along(honest, mean, direction)[1].abs().argmax())
