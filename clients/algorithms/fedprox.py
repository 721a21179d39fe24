"""FedProx: a proximal pull towards the received model, and stragglers who send what they have.

Source: Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith. Federated Optimization in Heterogeneous Networks.
MLSys 2020, Algorithm 2 and Section 5.2. arXiv:1812.06127
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor

from ...core.contracts import LocalTraining
from .parts.partial_work import check_partial, some_steps


@dataclass(frozen=True)
class FedProx:
    """Minimise f_i(y) + mu/2 ||y - x||^2 instead of f_i(y), x being the received model.

    The norm is squared: its gradient is mu (y - x). What a client sends counts as any other message, however
    many steps it took; FedAvg would drop a straggler, as a network with a deadline does.

    Attributes:
        mu: Strength of the pull, at least 0. 0 without partial work is FedAvg, to the last bit.
        partial: Probability with which a client does only a part of its local steps in a round, drawn evenly
            from 1 to one less than all, between 0 and 1. The authors' code draws epochs, for a fixed share of
            each cohort.
    """

    mu: float = 0.01
    partial: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.mu < np.inf:
            raise ValueError(f"mu must be at least 0 and finite, got {self.mu}")
        check_partial(self.partial)

    @property
    def plain(self) -> bool:
        """Whether a gradient stays as it is."""
        return self.mu == 0

    @property
    def proximal(self) -> float:
        """How strongly the received model pulls."""
        return self.mu

    @property
    def takes_steps(self) -> Callable[[int, Callable[[], np.random.Generator]], int] | None:
        """What says how many of its steps a client takes; None where it takes all."""
        return partial(some_steps, self.partial) if self.partial else None

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    def correct(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        return gradient if self.mu == 0 else gradient + self.mu * (params - received)
