"""Plain server step, with momentum if asked for: FedAvg and FedAvgM.

Source: McMahan, Moore, Ramage, Hampson, Agüera y Arcas. Communication-Efficient Learning of Deep
Networks from Decentralized Data. AISTATS 2017, Algorithm 1. arXiv:1602.05629. Momentum: Hsu, Qi, Brown.
Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification. 2019,
Section 4.3. arXiv:1909.06335. Warm-up: Goyal et al. Accurate, Large Minibatch SGD. 2017, Section 2.2.
arXiv:1706.02677
"""

from dataclasses import dataclass
from math import inf
from typing import Any

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
        warmup_rounds: Rounds over which the step size rises in equal parts, reaching lr in the last of them;
            0 and 1 step with lr at once. A clip norm that moves finds its place before noise does harm.
    """

    lr: float = 1.0
    momentum: float = 0.0
    nesterov: bool = False
    warmup_rounds: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.lr < inf:
            raise ValueError(f"lr must be above 0 and finite, got {self.lr}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")
        if self.warmup_rounds < 0:
            raise ValueError(f"warmup_rounds must be at least 0, got {self.warmup_rounds}")

    @property
    def memoryless(self) -> bool:
        """Whether every step is the same function of parameters and aggregate."""
        return self.momentum == 0 and self.warmup_rounds <= 1

    def init(self) -> None:
        return None

    def step(
        self, params: Tensor, aggregate: Tensor, state: dict[str, Any] | None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return the next parameters [P], and what is kept of this step: its number and the velocity [P]."""
        t = state["t"] + 1 if state else 1
        lr = self._lr(t)
        if self.momentum == 0:
            return torch.add(params, aggregate, alpha=lr), {"t": t}
        velocity = self.momentum * state["velocity"] + aggregate if state else aggregate
        direction = aggregate + self.momentum * velocity if self.nesterov else velocity
        return params + lr * direction, {"t": t, "velocity": velocity}

    def gain(self, state: dict[str, Any] | None) -> float:
        """Return what the next aggregate is multiplied by in the parameters after it."""
        lr = self._lr(state["t"] + 1 if state else 1)
        return lr * (1 + self.momentum) if self.nesterov else lr

    def _lr(self, t: int) -> float:
        """Return the step size of the t-th step, from 1."""
        return self.lr * min(1.0, t / max(self.warmup_rounds, 1))
