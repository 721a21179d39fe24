"""FedAdagrad: Adagrad on the server, the aggregate standing for the (negative) gradient.

Source: Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan. Adaptive Federated
Optimization. ICLR 2021, Algorithm 2. arXiv:2003.00295
"""

from dataclasses import dataclass

from torch import Tensor

from . import moments


@dataclass(frozen=True)
class Adagrad:
    """Divide the aggregate by the root of the sum of all squares so far, coordinate by coordinate.

    Attributes:
        lr: Server step size, above 0.
        beta1: Memory of the first moment, in [0, 1). The paper's is 0.
        tau: Degree of adaptivity, above 0, in units of the update's coordinates: added to the root of
            the second moment.
        v0: Where the sum of squares starts: ``"tau2"`` (the paper) or ``"zero"`` (Flower).
    """

    lr: float = 0.1
    beta1: float = 0.0
    tau: float = 1e-3
    v0: moments.Start = "tau2"

    def __post_init__(self) -> None:
        moments.check(self.lr, self.beta1, self.tau)

    def init(self) -> None:
        return None

    def step(
        self, params: Tensor, aggregate: Tensor, state: dict[str, Tensor] | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the next parameters [P], the first moment [P] and the sum of squares [P]."""
        last = state or moments.start(params, self.tau, self.v0)
        m = moments.mix(last["m"], aggregate, self.beta1)
        v = last["v"] + aggregate.square()
        return moments.move(params, m, v, self.lr, self.tau), {"m": m, "v": v}
