"""FedProx: a proximal pull towards the received model.

Source: Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith. Federated Optimization in Heterogeneous Networks.
MLSys 2020, Algorithm 2. arXiv:1812.06127
"""

from dataclasses import dataclass

from torch import Tensor

from ...core.contracts import LocalTraining


@dataclass(frozen=True)
class FedProx:
    """Minimise f_i(y) + mu/2 ||y - x||^2 instead of f_i(y), x being the received model.

    The norm is squared: its gradient is mu (y - x).

    Attributes:
        mu: Strength of the pull, at least 0. 0 is FedAvg, to the last bit.
    """

    mu: float = 0.01

    def __post_init__(self) -> None:
        if self.mu < 0:
            raise ValueError(f"mu must be at least 0, got {self.mu}")

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    def correct(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        return gradient if self.mu == 0 else gradient + self.mu * (params - received)
