"""Federated averaging: plain local SGD.

Source: McMahan, Moore, Ramage, Hampson, Aguera y Arcas. Communication-Efficient Learning of Deep
Networks from Decentralized Data. AISTATS 2017, Algorithm 1. arXiv:1602.05629
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...core.contracts import LocalTraining


@dataclass(frozen=True)
class FedAvg:
    """Train as the scenario's ``[training]`` says, and change nothing about the gradient."""

    plain: ClassVar[bool] = True

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return training

    def correct(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        return gradient
