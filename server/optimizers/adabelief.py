"""FedAdaBelief: steps by how far the aggregate is from what was expected of it.

Source: Zhuang, Tang, Ding, Tatikonda, Dvornek, Papademetris, Duncan. AdaBelief Optimizer: Adapting
Stepsizes by the Belief in Observed Gradients. NeurIPS 2020, Algorithm 2. arXiv:2010.07468, with the epsilon
of the authors' code (v0.2.1), which accumulates. On the server, without rectification and decoupled decay:
this package's transfer.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from . import moments


@dataclass(frozen=True)
class AdaBelief:
    """Divide the mean aggregate by the root of its mean squared surprise, both corrected for their start.

    m = beta1 m + (1 - beta1) Delta, s = beta2 s + (1 - beta2) (Delta - m)^2 + eps, and the step is
    lr / (1 - beta1^t) * m / (sqrt(s) / sqrt(1 - beta2^t) + eps).

    Attributes:
        lr: Server step size, above 0.
        beta1: Memory of the first moment, in [0, 1).
        beta2: Memory of the surprise, in [0, 1).
        eps: Added to the surprise, in units of the update's coordinates squared, and to its root; above 0.
        accumulate_eps: Whether what is added to the surprise stays in it, as in the authors' code; otherwise
            it is added under the root alone.
    """

    lr: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 1e-6
    accumulate_eps: bool = True

    def __post_init__(self) -> None:
        moments.check(self.lr, self.beta1, self.eps, self.beta2, tau_is="eps")

    def init(self) -> None:
        return None

    def step(
        self, params: Tensor, aggregate: Tensor, state: dict[str, Any] | None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return the next parameters [P], and moment and surprise [P] with the number of steps so far."""
        none = torch.zeros_like(params)
        last = state or {"m": none, "s": none, "t": 0}
        t = last["t"] + 1
        m = moments.mix(last["m"], aggregate, self.beta1)
        s = moments.mix(last["s"], (aggregate - m).square(), self.beta2)
        padded = s + self.eps
        root = padded.sqrt() / sqrt(1 - self.beta2**t) + self.eps
        kept = padded if self.accumulate_eps else s
        return params + self.lr / (1 - self.beta1**t) * m / root, {"m": m, "s": kept, "t": t}
