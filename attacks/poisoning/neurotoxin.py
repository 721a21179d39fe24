"""Neurotoxin: attack only where honest clients hardly move, so that they do not undo it.

Source: Zhang, Panda, Song, Yang, Mahoney, Mittal, Gonzalez, Ramchandran. Neurotoxin: Durable Backdoors in
Federated Learning. ICML 2022, Algorithm 1. arXiv:2206.10341
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...core.contracts import UpdateKnowledge, View
from ...core.trees import State
from ...core.updates import Updates
from .parts.broadcasts import last_move, no_broadcast


@dataclass(frozen=True)
class Neurotoxin:
    """Keep the attackers' own updates only in the coordinates that the global model moves the least.

    The honest gradient is taken from what every client sees: how far the broadcast model moved since the
    attackers received one last. In the first attacked round nothing is known, and the update goes as it is.

    The finished update is masked, where the paper masks the gradient of every local step: the same for one
    step, and exactly 0 outside the mask in both. What the update does is up to the attack on data that this
    one follows (``update`` in a scenario).

    Attributes:
        ratio: Share of the coordinates that are kept, above 0 and at most 1 (1 masks nothing). The default
            is unverified.
    """

    ratio: float = 0.95

    knowledge: ClassVar[UpdateKnowledge] = UpdateKnowledge.COLLUDERS
    beside_params: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1:
            raise ValueError(f"ratio must be above 0 and at most 1, got {self.ratio}")

    def init(self) -> State:
        return no_broadcast()

    def corrupt(self, own: Updates, view: View, state: State) -> tuple[Updates, State]:
        move, state = last_move(view, state)
        if move is None:
            return own, state
        return own.with_vectors(own.vectors * quietest(move, self.ratio).to(own.vectors.dtype)), state


def quietest(move: Tensor, ratio: float) -> Tensor:
    """Return whether a coordinate is among the ``ratio`` (rounded down) smallest in size.  # [P]"""
    kept = move.abs().argsort(stable=True)[: int(ratio * len(move) + 1e-9)]
    mask = torch.zeros(len(move), dtype=torch.bool)
    mask[kept] = True
    return mask
