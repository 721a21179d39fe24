"""Which option each layer gets, so that all together are smallest at a bounded sum of errors.

Source: Markov, Vladu, Guo, Alistarh. L-GreCo: Layerwise-Adaptive Gradient Compression for Efficient
Data-parallel Training. MLSys 2024, Algorithm 1. arXiv:2210.17357. The dynamic program is corrected: errors
are rounded up with a bucket of slack a layer, the first layer's bound is not strict, and what it finds is
checked with the true errors against the uniform choice.
"""

import numpy as np

from .packing import Array

BUCKETS = 10_000
"""Into how many parts the bound on the summed error is cut."""


def plan(sizes: Array, errors: Array, default: int, alpha: float = 1.0, buckets: int = BUCKETS) -> list[int]:
    """Return each layer's option: the smallest sum of sizes whose sum of errors is within a bound.

    Never larger than the uniform choice, and its error never above the bound; within a bucket a layer of the
    optimum. Where the bound is not above 0, or not finite, or nothing fits, the uniform choice.

    Args:
        sizes: Bits of a layer under an option, at least 0.  # [L, V]
        errors: What it loses then, at least 0; NaN or infinity forbids the option.  # [L, V]
        default: The option of the uniform choice.
        alpha: The bound, in units of the uniform choice's summed error.
        buckets: At least 1.
    """
    layers = len(sizes)
    uniform = [default] * layers
    bound = alpha * float(errors[:, default].sum())
    if not layers or not np.isfinite(bound) or bound <= 0:
        return uniform
    width = buckets + layers  # a bucket of slack a layer
    whole = np.ceil(np.where(np.isfinite(errors), errors, 0) / (bound / buckets) * (1 - 1e-12))
    spent = np.where(np.isfinite(errors), whole.clip(0, width + 1), width + 1).astype(np.int64)
    found, choices = _table(sizes.astype(np.float64), spent, width)
    limit, seen = float(sizes[:, default].sum()), None
    for total in range(width, buckets - 1, -1):
        if not np.isfinite(found[total]) or found[total] == seen:
            continue
        candidate = _back(choices, spent, total)
        if _sum(errors, candidate) <= bound * (1 + 1e-9):
            smaller = _sum(sizes, candidate) < limit
            return candidate if smaller or alpha < 1 else uniform
        seen = found[total]
    return uniform


def _table(sizes: Array, spent: Array, width: int) -> tuple[Array, Array]:
    """Return (the least size within each error [width + 1], each layer's choice [L, width + 1])."""
    layers, options = sizes.shape
    choices = np.zeros((layers, width + 1), dtype=np.int16)
    best = np.zeros(width + 1)
    for layer in range(layers):
        after = np.full(width + 1, np.inf)
        for option in range(options):
            used = spent[layer, option]
            if used > width:
                continue
            through = best[: width + 1 - used] + sizes[layer, option]
            better = through < after[used:]
            after[used:][better] = through[better]
            choices[layer, used:][better] = option
        best = after
    return best, choices


def _back(choices: Array, spent: Array, total: int) -> list[int]:
    found = []
    for layer in range(len(choices) - 1, -1, -1):
        option = int(choices[layer, total])
        found.append(option)
        total -= int(spent[layer, option])
    return found[::-1]


def _sum(table: Array, options: list[int]) -> float:
    return float(table[np.arange(len(table)), options].sum())
