"""Grokfast: the slow part of the aggregates, amplified.

Source: Lee, Kang, Kim, Lee. Grokfast: Accelerated Grokking by Amplifying Slow Gradients. 2024, the moving
average with exponential weights. arXiv:2405.20233, with the start of the authors' code. On the server, the
aggregate standing for the (negative) gradient: this package's transfer.
"""

from dataclasses import dataclass
from math import inf
from typing import Any, Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grokfast:
    """Step along the aggregate plus ``amplification`` times its moving average h.

    A direction that never changes is stepped along with lr (1 + amplification): compare with a momentum of
    the same steady gain, lr / (1 - momentum), and not at equal lr.

    Attributes:
        lr: Server step size, above 0.
        memory: Share of the last average that is kept (alpha), in [0, 1).
        amplification: What the average counts (lambda), at least 0; 0 is plain averaging.
        start: ``"first"``: the first aggregate is the first average (the authors' code); or ``"zero"``.
    """

    lr: float = 1.0
    memory: float = 0.98
    amplification: float = 2.0
    start: Literal["first", "zero"] = "first"

    def __post_init__(self) -> None:
        if not 0 < self.lr < inf:
            raise ValueError(f"lr must be above 0 and finite, got {self.lr}")
        if not 0 <= self.memory < 1:
            raise ValueError(f"memory must be in [0, 1), got {self.memory}")
        if not 0 <= self.amplification < inf:
            raise ValueError(f"amplification must be at least 0 and finite, got {self.amplification}")

    def init(self) -> None:
        return None

    def step(
        self, params: Tensor, aggregate: Tensor, state: dict[str, Any] | None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return the next parameters [P], and the average [P]."""
        first = aggregate if self.start == "first" else torch.zeros_like(aggregate)
        last = state["h"] if state else first
        h = self.memory * last + (1 - self.memory) * aggregate
        return params + self.lr * (aggregate + self.amplification * h), {"h": h}
