"""What the adaptive server optimisers share: two moments of the aggregate and the step they give.

Source: Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan. Adaptive Federated
Optimization. ICLR 2021, Algorithm 2. arXiv:2003.00295
"""

from typing import Literal

import torch
from torch import Tensor

Start = Literal["tau2", "zero"]
"""Where the second moment starts: the paper's tau^2, or 0 as Flower has it."""


def check(lr: float, beta1: float, tau: float, beta2: float = 0.0, tau_is: str = "tau") -> None:
    """Refuse options out of range; ``tau_is`` is what a rule calls its tau.

    Raises:
        ValueError: lr or tau not above 0, a beta outside [0, 1).
    """
    for name, value in (("lr", lr), (tau_is, tau)):
        if not 0 < value < float("inf"):
            raise ValueError(f"{name} must be above 0 and finite, got {value}")
    for name, value in (("beta1", beta1), ("beta2", beta2)):
        if not 0 <= value < 1:
            raise ValueError(f"{name} must be in [0, 1), got {value}")


def start(params: Tensor, tau: float, v0: Start) -> dict[str, Tensor]:
    """Return the state before the first step: m [P] of zeros, and v [P]."""
    second = tau * tau if v0 == "tau2" else 0.0
    return {"m": torch.zeros_like(params), "v": torch.full_like(params, second)}


def square(values: Tensor) -> Tensor:
    """Return the squares of values [P], at most a quarter of their type's largest number.  # [P]

    So a sum with another one, or a moment over 1 - beta^t from t = 1, is a number still.
    """
    return values.square().clamp(max=torch.finfo(values.dtype).max / 4)


def mix(last: Tensor, new: Tensor, beta: float) -> Tensor:
    """Return the moving average beta * last + (1 - beta) * new.  # [P]"""
    return beta * last + (1 - beta) * new


def move(params: Tensor, m: Tensor, v: Tensor, lr: float, tau: float) -> Tensor:
    """Return params + lr * m / (sqrt(v) + tau).  # [P]"""
    return params + lr * m / (v.sqrt() + tau)
