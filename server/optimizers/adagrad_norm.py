"""AdaGrad-Norm: one step size for all coordinates, which shrinks with what was seen.

Source: Attia, Koren. SGD with AdaGrad Stepsizes: Full Adaptivity with High Probability to Unknown Parameters,
Unbounded Gradients and Affine Variance. ICML 2023. arXiv:2302.08783 (id unverified). On the server, the
aggregate standing for the (negative) gradient: this package's transfer.
"""

from dataclasses import dataclass
from math import inf
from typing import Any

from torch import Tensor

from ...core.updates import row_norms


@dataclass(frozen=True)
class AdagradNorm:
    """Divide the aggregate by the root of the sum of all its squared L2 norms so far.

    No step is longer than lr. Noise of a privacy mechanism counts as length: the sum grows by about
    P (noise_multiplier * clip_norm / cohort)^2 a round, whatever the data, and steps decay as 1 / sqrt(t).

    Attributes:
        lr: Server step size, above 0: the longest step there is, in L2 norm.
        b0: Root of what the sum starts at, above 0, in units of the update's L2 norm.
    """

    lr: float = 1.0
    b0: float = 0.1

    def __post_init__(self) -> None:
        for name, value in (("lr", self.lr), ("b0", self.b0)):
            if not 0 < value < inf:
                raise ValueError(f"{name} must be above 0 and finite, got {value}")

    def init(self) -> None:
        return None

    def step(
        self, params: Tensor, aggregate: Tensor, state: dict[str, Any] | None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return the next parameters [P], and the sum of squared norms, float64."""
        last = state["b2"] if state else self.b0**2
        b2 = last + float(row_norms(aggregate[None])[0]) ** 2
        return params + (self.lr / b2**0.5) * aggregate, {"b2": b2}
