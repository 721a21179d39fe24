"""FedExP: the server steps further, the more the clients' updates point apart.

Source: Jhunjhunwala, Wang, Joshi. FedExP: Speeding Up Federated Averaging via Extrapolation. ICLR 2023,
equation 5 (unverified). arXiv:2301.09604. The sums over clients are weighted with p_i; equal ones give the
paper's step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...core.contracts import Facts, LocalTraining, LocalWork
from ...core.trees import State
from ...core.updates import row_norms


@dataclass(frozen=True)
class FedExP:
    """Step by max(1, sum p_i |u_i|^2 / (2 (|sum p_i u_i|^2 + eps))) times the aggregate.

    Clients train as FedAvg's and state |u_i|^2 of their update, of which the server never sees more than the
    aggregate. Equal updates give a step of 1, S orthogonal ones of one length S / 2. p_i are the weights of
    the defense; equal ones where it tells none.

    Who states more than is true makes every step longer: ``max_step`` bounds what that can do.

    Attributes:
        eps: Added to the squared length of the aggregate, at least 0, in its units; above 0 it keeps steps
            short where updates cancel.
        max_step: The longest step, at least 1.
    """

    eps: float = 1e-3
    max_step: float = 10.0

    plain: ClassVar[bool] = True
    facts: ClassVar[tuple[str, ...]] = ("squared_norm",)
    stale: ClassVar[bool] = True  # |u_i|^2 and p_i are those of the messages that are counted

    def __post_init__(self) -> None:
        if not 0 <= self.eps < float("inf"):
            raise ValueError(f"eps must be at least 0, got {self.eps}")
        if not 1 <= self.max_step < float("inf"):
            raise ValueError(f"max_step must be at least 1, got {self.max_step}")

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    def correct(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        return gradient

    def facts_of(self, update: Tensor, work: LocalWork) -> Mapping[str, Tensor]:
        return {"squared_norm": row_norms(update).square()}

    def factors(self, facts: Facts) -> Tensor:
        """Return 1 for each client: messages are what they are.  # [K]"""
        return torch.ones(len(facts.client_ids), dtype=torch.float64)

    def init(self) -> State:
        return {}

    def step(
        self, params: Tensor, aggregate: Tensor, state: State, share: float, facts: Facts
    ) -> tuple[Tensor, State]:
        """Step along the aggregate, as far as the stated lengths say."""
        spread = float((facts.weights * facts.values["squared_norm"].clamp(min=0)).sum())
        length = float(row_norms(aggregate[None])[0]) ** 2
        far = spread / (2 * (length + self.eps)) if length + self.eps > 0 else 1.0
        return params + min(max(1.0, far), self.max_step) * aggregate, state
