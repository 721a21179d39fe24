"""DIFF2-GD: gradient descent on an estimate that is kept up by noised gradient differences.

Source: Murata, Suzuki. DIFF2: Differential Private Optimization via Gradient Differences for Nonconvex
Distributed Learning. ICML 2023. arXiv:2302.03884. The abstract was read; the algorithm is second-hand.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from ...core.contracts import LocalTraining, Visit
from ...core.trees import State
from .parts import differences


@dataclass(frozen=True)
class Diff2GD:
    """Every worker sends a clipped mean: of its gradients at a restart, else of gradient *differences*.

    The server adds differences to its estimate v and steps along it. A difference is at most c2 times the
    length of the last step, so that its noise (privacy ``diff2``) shrinks as steps do; noise gathers in v
    until the next restart. With ``restart = 1`` this is differentially private gradient descent.

    Everybody takes part in every round. Without a mechanism nothing is noised, and nothing proved.

    Attributes:
        lr: Step size (eta), above 0.
        c1: Bound on an example's gradient, in units of its L2 norm, above 0.
        c2: Bound on an example's gradient difference over the step's length, above 0: about the loss's
            smoothness. Below it the estimate is biased.
        restart: Rounds from one restart to the next (T), at least 1.
        ridge: Of a penalty ridge / 2 |x|^2, added by the server, since it depends on no data; at least 0.
    """

    lr: float = 0.5
    c1: float = 1.0
    c2: float = 0.25
    restart: int = 10
    ridge: float = 0.0

    extras: ClassVar[int] = 1
    exchanges: ClassVar[int] = 1
    inner_multiplier: ClassVar[float] = 0.0
    full_participation: ClassVar[bool] = True
    mechanisms: ClassVar[tuple[str, ...]] = ("none", "diff2")
    shared: ClassVar[tuple[str, ...]] = ("c1", "c2", "restart", "exchanges", "inner_multiplier")

    def __post_init__(self) -> None:
        differences.check(self.lr, self.c1, self.c2, self.restart, self.ridge)

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return replace(training, batch_size=0, local_steps=1, lr=self.lr)

    def work(self, visit: Visit) -> tuple[Tensor, Tensor]:
        """Return the clipped mean gradient or difference, and the mean loss."""
        old = None if visit.round % self.restart == 0 else visit.extra[0]
        return differences.message(visit, self.c1, self.c2, old)

    def init(self) -> State:
        return differences.first_memory()

    def step(self, params: Tensor, aggregate: Tensor, state: State) -> tuple[Tensor, State]:
        """Bring the estimate up to date and step along it."""
        v = differences.estimate(aggregate, state["round"] % self.restart == 0, state)
        after = {"round": state["round"] + 1, "last": params, "v": v}
        return differences.descend(params, v, self.lr, self.ridge), after

    def extra(self, params: Tensor, state: State) -> Tensor:
        """Return the parameters before the last step; zeros before the first.  # [1, P]"""
        last = torch.zeros_like(params) if state["last"] is None else state["last"]
        found: Tensor = last[None]
        return found
