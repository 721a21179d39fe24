"""FedYogi: Adam whose second moment forgets no faster than it is told to.

Source: Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan. Adaptive Federated
Optimization. ICLR 2021, Algorithm 2. arXiv:2003.00295
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from . import moments


@dataclass(frozen=True)
class Yogi:
    """Move the second moment towards the squared aggregate by a step of that square's own size.

    Attributes:
        lr: Server step size, above 0.
        beta1: Memory of the first moment, in [0, 1).
        beta2: Memory of the second moment, in [0, 1).
        tau: Degree of adaptivity, above 0, in units of the update's coordinates: added to the root of
            the second moment.
        v0: Where the second moment starts: ``"tau2"`` (the paper) or ``"zero"`` (Flower).
    """

    lr: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3
    v0: moments.Start = "tau2"

    def __post_init__(self) -> None:
        moments.check(self.lr, self.beta1, self.tau, self.beta2)

    def init(self) -> None:
        return None

    def step(
        self, params: Tensor, aggregate: Tensor, state: dict[str, Tensor] | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the next parameters [P], and both moments [P]."""
        last = state or moments.start(params, self.tau, self.v0)
        square = aggregate.square().clamp(max=torch.finfo(aggregate.dtype).max)  # infinities would cancel
        m = moments.mix(last["m"], aggregate, self.beta1)
        v = last["v"] - (1 - self.beta2) * square * (last["v"] - square).sign()
        return moments.move(params, m, v, self.lr, self.tau), {"m": m, "v": v}
