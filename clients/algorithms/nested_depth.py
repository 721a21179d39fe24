"""Clients whose models are the first layers of the whole one's stages: depth-heterogeneous training.

Source: the setting of Chan, Ngai. Internal Cross-layer Gradients for Extending Homogeneity to Heterogeneity
in Federated Learning. ICLR 2024, Section 3. arXiv:2308.11464, and its authors' code. Defense ``inco`` is
their aggregation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil, isclose
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor, nn

from ...core.contracts import LocalTraining, Part
from ..models.shallower import units, without


@dataclass(frozen=True)
class NestedDepth:
    """Train FedAvg's steps on a prefix of every stage of the model.

    The model is an ``nn.Sequential``. A stage is a run of layers or blocks that give back the shape that they
    are given, as the hidden layers of equal width of an MLP behind its first; a client of depth d has the
    first ceil(d n) of a stage's n, and all that belongs to no stage. A frame holds what its client has, and a
    mean counts for each parameter the clients that have it. The defense must be able to deal with that.

    Attributes:
        depths: Each level's d, at least 0 and at most 1.
        shares: The share of clients of each level, above 0, summing to 1; empty: equal shares.
        mode: ``"fix"``: a client's level stays; the first clients by id have the first depth, and so on.
            ``"dynamic"``: every client's level is drawn anew in each round.
    """

    depths: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0)
    shares: tuple[float, ...] = ()
    mode: Literal["fix", "dynamic"] = "fix"

    plain: ClassVar[bool] = True
    weighs_alike: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.depths or not all(0 <= depth <= 1 for depth in self.depths):
            raise ValueError(f"depths must be from 0 to 1, at least one, got {list(self.depths)}")
        if self.shares and (len(self.shares) != len(self.depths) or not all(s > 0 for s in self.shares)):
            raise ValueError(
                f"shares must be above 0 and as many as depths ({len(self.depths)}), got {list(self.shares)}"
            )
        if self.shares and not isclose(sum(self.shares), 1, abs_tol=1e-6):
            raise ValueError(f"shares must sum to 1, got {sum(self.shares):g}")
        if self.mode not in ("fix", "dynamic"):
            raise ValueError(f"mode must be fix or dynamic, got {self.mode!r}")

    @property
    def levels_stay(self) -> bool:
        """Whether a client has one level in all rounds."""
        return self.mode == "fix"

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    def correct(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        return gradient

    def levels(self, model: nn.Module, input_shape: tuple[int, ...]) -> Sequence[Part]:
        known = units(model, input_shape)
        stages = [list(run) for spare, run in groupby(known, key=lambda unit: unit.spare) if spare]
        return [
            without(model, {unit for stage in stages for unit in stage[_first(depth, len(stage)) :]})
            for depth in self.depths
        ]

    def level(self, client_id: int, num_clients: int, draw: Callable[[], np.random.Generator]) -> int:
        """Return the level of the quantile at which the client stands, or at which a draw falls."""
        at = (client_id + 0.5) / num_clients if self.mode == "fix" else float(draw().random())
        shares = self.shares or (1.0,) * len(self.depths)
        ends = np.cumsum(shares) / sum(shares)
        return int((ends[:-1] <= at).sum())


def _first(depth: float, count: int) -> int:
    """Return how many of a stage's layers a client has."""
    return ceil(depth * count - 1e-9)
