"""AdGD: a step size from how fast the aggregate changed along the last step.

Source: Malitsky, Mishchenko. Adaptive Gradient Descent without Descent. ICML 2020, Algorithm 1.
arXiv:1910.09529; the rule is that of the authors' code with its eps 0. On the server, the aggregate standing
for the (negative) gradient: this package's transfer.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...core.updates import row_norms

_LEAST = 1e-40  # step size: shorter ones, after many very long messages, would end at 0 for good


@dataclass(frozen=True)
class AdGD:
    """Step by min(sqrt(1 + theta) lambda, |x_t - x_{t-1}| / (2 |Delta_t - Delta_{t-1}|)) times the aggregate.

    lambda is the last step size and theta what it was divided by the one before; the first is ``lr``, the
    second has no bound but the ratio. |x_t - x_{t-1}| is lambda |Delta_{t-1}|, which is above 0 also where a
    step is too short to change a float32. Where the aggregate is the last one the first bound alone holds;
    an aggregate of zeros, as of a round in which nobody counts, is no step and is forgotten. On a quadratic
    of curvature L it settles at 1 / (2 L) or below.

    The theory is that of exact gradients: where cohorts differ, or a mechanism adds noise, the difference of
    two aggregates is mostly that, and steps become short. One message that is very long does the same, for as
    many rounds as it takes to grow back.

    Attributes:
        lr: The first step size (the paper's lambda_0), above 0.
        max_lr: The longest one, at least lr: a bound that the paper does not have.
    """

    lr: float = 1.0
    max_lr: float = 10.0

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise ValueError(f"lr must be above 0, got {self.lr}")
        if not self.lr <= self.max_lr < float("inf"):
            raise ValueError(f"max_lr must be at least lr and finite, got {self.max_lr}")

    def init(self) -> None:
        return None

    def step(
        self, params: Tensor, aggregate: Tensor, state: dict[str, Any] | None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return the next parameters [P], and what the next step size follows from."""
        if state is not None and not bool(aggregate.any()):
            return params.clone(), state
        lr, ratio = (self.lr, None) if state is None else self._next(aggregate, state)
        return params + lr * aggregate, {"aggregate": aggregate, "lr": lr, "ratio": ratio}

    def _next(self, aggregate: Tensor, last: dict[str, Any]) -> tuple[float, float | None]:
        """Return this round's step size, and what it is divided by the last one."""
        before, now = last["aggregate"].double(), aggregate.double()
        way, turn = last["lr"] * _norm(before), _norm(now - before)
        if way == 0:
            return last["lr"], last["ratio"]
        most = self.max_lr if last["ratio"] is None else (1 + last["ratio"]) ** 0.5 * last["lr"]
        lr = max(min(most, way / (2 * turn) if turn else most, self.max_lr), _LEAST)
        return lr, lr / last["lr"]


def _norm(vector: Tensor) -> float:
    return float(row_norms(vector[None])[0])
