"""Stochastic depth: clients train, receive and send some of a model's residual blocks, others in each round.

Source: Huang, Sun, Liu, Sedra, Weinberger. Deep Networks with Stochastic Depth. ECCV 2016, Section 3.
arXiv:1603.09382. One draw for each client and round, in the place of one for each minibatch, is ours: so that
bytes fall with the work.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np
from torch import Tensor, nn

from ...core.contracts import LocalTraining, Part
from ...core.errors import ScenarioError
from ..models.normalized import Normalized
from ..models.residual import ResidualBlock, keep_probabilities
from ..models.shallower import units, without

MOST = 8  # blocks: a model is made for each of their 2^L sets


@dataclass(frozen=True)
class StochasticDepth:
    """Train FedAvg's steps on a model of which block l of L is there with p_l = 1 - (l / L) (1 - p_L).

    A client draws its blocks anew in every round; what it has is public, and a mean counts for each parameter
    the clients that have it. Outside of training every block is there, and its output counts p_l: model
    ``residual_mlp`` with the same ``blocks`` and ``keep_last``. With ``keep_last`` 1 it is FedAvg.

    It protects nothing: the server knows which blocks a client trained. One draw a minibatch is
    ``fedavg`` on model ``residual_mlp`` with ``per_batch``.

    Attributes:
        blocks: L, from 1 to 8.
        keep_last: p_L, above 0 and at most 1.
    """

    blocks: int = 6
    keep_last: float = 0.5

    plain: ClassVar[bool] = True
    weighs_alike: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 1 <= self.blocks <= MOST:
            raise ValueError(f"blocks must be from 1 to {MOST}, got {self.blocks}")
        if not 0 < self.keep_last <= 1:
            raise ValueError(f"keep_last must be above 0 and at most 1, got {self.keep_last}")

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    def correct(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        return gradient

    def levels(self, model: nn.Module, input_shape: tuple[int, ...]) -> Sequence[Part]:
        net = model.net if isinstance(model, Normalized) else model
        blocks = [m for m in net.modules() if isinstance(m, ResidualBlock)]
        wanted = keep_probabilities(self.blocks, self.keep_last)
        if any(block.drawn is not None for block in blocks):
            raise ScenarioError(
                "stochastic_depth draws blocks itself, got a model that does (per_batch); use fedavg"
            )
        if [block.keep for block in blocks] != wanted:
            raise ScenarioError(
                f"stochastic_depth needs model residual_mlp with blocks = {self.blocks} and keep_last = "
                f"{self.keep_last}, got a model of {len(blocks)} such blocks"
                + (f" that are kept with {[round(b.keep, 4) for b in blocks]}" if blocks else "")
            )
        spare = [unit for unit in units(model, input_shape) if unit.spare]
        return [
            without(model, {unit for unit, there in zip(spare, kept, strict=True) if not there})
            for kept in self._sets
        ]

    @property
    def _sets(self) -> list[tuple[bool, ...]]:
        """Return which blocks each level has: all sets that can be drawn."""
        may_go = [keep < 1 for keep in keep_probabilities(self.blocks, self.keep_last)]
        return list(product(*((True, False) if goes else (True,) for goes in may_go)))

    def level(self, client_id: int, num_clients: int, draw: Callable[[], np.random.Generator]) -> int:
        """Return which of the sets of blocks the client draws in the round."""
        keeps = np.array(keep_probabilities(self.blocks, self.keep_last))
        kept = tuple((draw().random(self.blocks) < keeps).tolist())
        return self._sets.index(kept)
