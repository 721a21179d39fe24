"""What the DIFF2 algorithms share: per-example clipped gradients, and gradient differences.

Source: Murata, Suzuki. DIFF2: Differential Private Optimization via Gradient Differences for Nonconvex
Distributed Learning. ICML 2023. arXiv:2302.03884. The abstract was read; the algorithm is second-hand.
"""

from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....core.contracts import Visit
from ....core.trees import State

_FLOATS = 1 << 22  # of per-example gradients at a time: 16 MiB


def check(lr: float, c1: float, c2: float, restart: int, ridge: float) -> None:
    """Refuse options out of range.

    Raises:
        ValueError: The first such option.
    """
    for name, value in (("lr", lr), ("c1", c1), ("c2", c2)):
        if not (isfinite(value) and value > 0):
            raise ValueError(f"{name} must be finite and above 0, got {value}")
    if restart < 1:
        raise ValueError(f"restart must be at least 1, got {restart}")
    if not (isfinite(ridge) and ridge >= 0):
        raise ValueError(f"ridge must be finite and at least 0, got {ridge}")


def step_length(new: Tensor, old: Tensor) -> float:
    """Return the L2 distance of two parameter vectors, in float64."""
    return float(torch.linalg.vector_norm((new.double() - old.double()), dtype=torch.float64))


def clipped_sum(
    visit: Visit, bound: float, rows: np.ndarray[Any, Any], new: Tensor, old: Tensor | None = None
) -> Tensor:
    """Return the sum over examples of clip(gradient at ``new`` less that at ``old``), float64.  # [P]

    The difference is clipped, not its two gradients. An example whose gradient is not finite counts as 0.

    Args:
        visit: Whose examples.
        bound: The L2 norm up to which one example may count, at least 0.
        rows: Which examples.
        new: Parameters.  # [P]
        old: Others; None: the gradient itself is clipped.  # [P]
    """
    total, size = torch.zeros(len(new), dtype=torch.float64), max(1, _FLOATS // len(new))
    for at in range(0, len(rows), size):
        part = rows[at : at + size]
        each = visit.example_gradients(new, part)  # [B, P]
        if old is not None:
            each = each - visit.example_gradients(old, part)
        norms = torch.linalg.vector_norm(each, dim=1, dtype=torch.float64)  # [B]
        scale = (bound / norms.clamp(min=1e-300)).clamp(max=1.0)
        finite = norms.isfinite()
        if not bool(finite.all()):
            each, scale = each.where(finite[:, None], 0.0), scale.where(finite, 0.0)
        total += scale @ each.double()
    return total


def message(visit: Visit, c1: float, c2: float, old: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return what a worker sends, from all of its examples [P], and its mean loss.

    Args:
        visit: The worker.
        c1: Bound of a gradient.
        c2: Bound of a difference, over the length of the step.
        old: The parameters before the last step; None at a restart.  # [P]
    """
    new, everything = visit.received, np.arange(visit.num_examples)
    _, loss = visit.gradient(new)
    bound = c1 if old is None else c2 * step_length(new, old)
    total = clipped_sum(visit, bound, everything, new, old)
    return (total / visit.num_examples).to(new.dtype), loss


def first_memory() -> State:
    """Return the server's memory before the first round."""
    return {"round": 0, "last": None, "v": None}


def estimate(aggregate: Tensor, restarts: bool, state: State) -> Tensor:
    """Return the running estimate v of the gradient, float64.  # [P]"""
    found: Tensor = aggregate.double()
    return found if restarts else state["v"] + found


def descend(params: Tensor, v: Tensor, lr: float, ridge: float) -> Tensor:
    """Return params - lr (v + ridge params); the ridge's gradient depends on no data.  # [P]"""
    moved: Tensor = params.double() - lr * (v.double() + ridge * params.double())
    return moved.to(params.dtype)
