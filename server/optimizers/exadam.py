"""EXAdam: Adam with cross-coupled corrections of its moments and a share of the current aggregate.

Source: Adly. EXAdam: The Power of Adaptive Cross-Moments. 2024, Algorithm 1 as the author's code
(AhmedMostafa16/EXAdam) has it, without the growing step size. arXiv:2412.20302. On the server, the aggregate
standing for the (negative) gradient: this package's transfer.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import moments


@dataclass(frozen=True)
class EXAdam:
    """Step by lr (m' + g') / (sqrt(v') + eps), where m', g' and v' are corrected by each other.

    d1 = 1 + v / (v + eps) beta2^t and d2 = 1 + m^2 / (m^2 + eps) beta1^t; m' = m / (1 - beta1^t) d1,
    v' = v / (1 - beta2^t) d2, g' = Delta / (1 - beta1^t) d1. The first step is about 16 lr, where Adam's is
    lr, and later ones about twice Adam's: its best lr lies about ten times lower.

    Attributes:
        lr: Server step size, above 0.
        beta1: Memory of the first moment, in [0, 1).
        beta2: Memory of the second moment, in [0, 1).
        eps: Added to denominators, above 0.
    """

    lr: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 1e-6

    def __post_init__(self) -> None:
        moments.check(self.lr, self.beta1, self.eps, self.beta2, tau_is="eps")

    def init(self) -> None:
        return None

    def step(
        self, params: Tensor, aggregate: Tensor, state: dict[str, Any] | None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return the next parameters [P], and both moments [P] with the number of steps so far."""
        none = torch.zeros_like(params)
        last = state or {"m": none, "v": none, "t": 0}
        t = last["t"] + 1
        m = moments.mix(last["m"], aggregate, self.beta1)
        v = moments.mix(last["v"], moments.square(aggregate), self.beta2)
        more = 1 + v / (v + self.eps) * self.beta2**t
        less = 1 + moments.square(m) / (moments.square(m) + self.eps) * self.beta1**t
        root = (v / (1 - self.beta2**t) * less).sqrt() + self.eps
        steered = (m / root + aggregate / root) / (1 - self.beta1**t) * more
        return params + self.lr * steered, {"m": m, "v": v, "t": t}
