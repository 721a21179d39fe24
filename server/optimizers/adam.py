"""FedAdam: Adam on the server, the aggregate standing for the (negative) gradient.

Source: Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan. Adaptive Federated
Optimization. ICLR 2021, Algorithm 2. arXiv:2003.00295
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

from torch import Tensor

from . import moments


@dataclass(frozen=True)
class Adam:
    """Divide the mean aggregate by the root of its mean square, coordinate by coordinate.

    Attributes:
        lr: Server step size, above 0.
        beta1: Memory of the first moment, in [0, 1).
        beta2: Memory of the second moment, in [0, 1).
        tau: Degree of adaptivity, above 0, in units of the update's coordinates: added to the root of
            the second moment.
        v0: Where the second moment starts: ``"tau2"`` (the paper) or ``"zero"`` (Flower).
        bias_correction: ``"none"`` (the paper), ``"adam"`` (both moments over 1 - beta^t, t from 1), or
            ``"flower"`` (Flower's FedAdam: lr * sqrt(1 - beta2^(t+1)) / (1 - beta1^(t+1)), one step ahead).
    """

    lr: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3
    v0: moments.Start = "tau2"
    bias_correction: Literal["none", "adam", "flower"] = "none"

    def __post_init__(self) -> None:
        moments.check(self.lr, self.beta1, self.tau, self.beta2)

    def init(self) -> None:
        return None

    def step(
        self, params: Tensor, aggregate: Tensor, state: dict[str, Any] | None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return the next parameters [P], and both moments [P] with the number of steps so far."""
        last = state or {**moments.start(params, self.tau, self.v0), "t": 0}
        t = last["t"] + 1
        m = moments.mix(last["m"], aggregate, self.beta1)
        v = moments.mix(last["v"], aggregate.square(), self.beta2)
        return self._move(params, m, v, t), {"m": m, "v": v, "t": t}

    def _move(self, params: Tensor, m: Tensor, v: Tensor, t: int) -> Tensor:
        if self.bias_correction == "adam":
            m, v = m / (1 - self.beta1**t), v / (1 - self.beta2**t)
        lr = self.lr
        if self.bias_correction == "flower":
            lr *= sqrt(1 - self.beta2 ** (t + 1)) / (1 - self.beta1 ** (t + 1))
        return moments.move(params, m, v, lr, self.tau)
