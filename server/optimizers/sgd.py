"""Plain server step, with momentum if asked for: FedAvg and FedAvgM.

Source: McMahan, Moore, Ramage, Hampson, Agüera y Arcas. Communication-Efficient Learning of Deep
Networks from Decentralized Data. AISTATS 2017, Algorithm 1. arXiv:1602.05629. Momentum: Hsu, Qi, Brown.
Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification. 2019,
Section 4.3. arXiv:1909.06335
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SGD:
    """Add ``lr`` times the (accumulated) aggregate to the parameters.

    With momentum the steady gain is lr / (1 - momentum); it is not rescaled.

    Attributes:
        lr: Server step size, above 0. 1 applies the aggregate as it is.
        momentum: Share of the last velocity that is kept (the paper's beta), in [0, 1). 0 is FedAvg.
        nesterov: Step along aggregate + momentum * velocity instead of along the velocity.
    """

    lr: float = 1.0
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ValueError(f"lr must be above 0, got {self.lr}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")

    def init(self) -> None:
        return None

    def step(self, params: Tensor, aggregate: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the next parameters [P] and the velocity [P] (None without momentum)."""
        if self.momentum == 0:
            return torch.add(params, aggregate, alpha=self.lr), None
        last = torch.zeros_like(params) if state is None else state
        velocity = self.momentum * last + aggregate
        direction = aggregate + self.momentum * velocity if self.nesterov else velocity
        return params + self.lr * direction, velocity
