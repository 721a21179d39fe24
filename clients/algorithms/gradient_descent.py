"""Gradient descent on all of a client's examples; one step of it is FedSGD.

Source: McMahan, Moore, Ramage, Hampson, Aguera y Arcas. Communication-Efficient Learning of Deep
Networks from Decentralized Data. AISTATS 2017, Section 2. arXiv:1602.05629
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from ...core.contracts import LocalTraining


@dataclass(frozen=True)
class GradientDescent:
    """Take full-batch steps: the scenario's ``batch_size`` and ``local_epochs`` do not count.

    Attributes:
        local_steps: Steps a round, at least 1.
    """

    local_steps: int = 1

    plain: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.local_steps < 1:
            raise ValueError(f"local_steps must be at least 1, got {self.local_steps}")

    def schedule(self, training: LocalTraining) -> LocalTraining:
        return replace(training, batch_size=0, local_steps=self.local_steps)

    def correct(self, gradient: Tensor, params: Tensor, received: Tensor) -> Tensor:
        return gradient
