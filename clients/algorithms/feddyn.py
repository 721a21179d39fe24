"""FedDyn: a dynamic regulariser, with which the clients' optima agree with the global one in the limit.

Source: Acar, Zhao, Matas Navarro, Mattina, Whatmough, Saligrama. Federated Learning Based on Dynamic
Regularization. ICLR 2021, Algorithm 1. arXiv:2111.04263, in the gradient form.
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch import Tensor

from ...core.contracts import Groups, LocalTraining, LocalWork
from ...core.layout import Layout
from ...core.trees import State


@dataclass(frozen=True)
class FedDyn:
    """Minimise f_i(y) - <h_i, y> + alpha/2 ||y - x||^2; then h_i -= alpha (y_i - x).

    The server keeps h, the mean of all N clients' h_i where everything sent was counted, and broadcasts the
    mean of the clients' models less h / alpha. The mean itself, without that step, is what is scored. After
    an exact solution h_i is the gradient of f_i at y_i. One Byzantine round stays in h for ever. The
    authors' code clips gradients (norm 10) and may scale alpha by a client's share of the examples: not here.

    Attributes:
        alpha: Strength of the regulariser, above 0.
    """

    alpha: float = 0.01

    weighs_alike: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.alpha < inf:
            raise ValueError(f"alpha must be above 0 and finite, got {self.alpha}")

    @property
    def proximal(self) -> float:
        """How strongly the received model pulls."""
        return self.alpha

    def memory(self, layout: Layout) -> Layout:
        return layout.repeated("slope")

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    def correct(
        self, gradient: Tensor, params: Tensor, received: Tensor, shared: Groups, own: Groups
    ) -> Tensor:
        return gradient - own["slope"] + self.alpha * (params - received)

    def drift(self, shared: Groups, own: Groups) -> Tensor:
        return -own["slope"]

    def finish(
        self, update: Tensor, received: Tensor, shared: Groups, own: Groups, work: LocalWork
    ) -> tuple[Groups, Groups]:
        return {"update": update}, {"slope": own["slope"] - self.alpha * update}

    def init(self) -> State:
        return {"slope": None, "mean": None}

    def step(self, params: Tensor, aggregate: Tensor, state: State, share: float) -> tuple[Tensor, State]:
        """Step to the clients' mean model less h / alpha; where nobody was counted, stay."""
        if share == 0:
            return params, state
        h = torch.zeros_like(params) if state["slope"] is None else state["slope"]
        h, mean = h - self.alpha * share * aggregate, params + aggregate
        return mean - h / self.alpha, {"slope": h, "mean": mean}

    def model(self, params: Tensor, state: State) -> Tensor:
        """Return the clients' mean model; before the first round what they receive.  # [P]"""
        found: Tensor = params if state["mean"] is None else state["mean"]
        return found
