"""The widest gap between sorted values, or their first wide jump: where a crowd ends and outliers begin.

Source of the widest gap: Gupta, Luo, Ngo, Das. Long-Short History of Gradients is All You Need: Detecting
Malicious and Unreliable Clients in Federated Learning. ESORICS 2022, and the authors' code. arXiv:2208.10273
"""

import numpy as np

from .columns import Array


def largest_gap(values: Array) -> float:
    """Return the middle of the first widest gap; 0 for fewer than two values, or if all are equal.  # [n]"""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    gaps = np.diff(ordered)
    if not gaps.size or gaps.max() <= 0:
        return 0.0
    at = int(gaps.argmax())
    return float(ordered[at] / 2 + ordered[at + 1] / 2)


def first_jump(values: Array, factor: float) -> float:
    """Return the last value before the upper half first jumps by more than ``factor``; else infinity.

    The upper half begins at the (lower) median, so that a majority is never beyond the jump.  # [n]
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    upper = ordered[max(len(ordered) - 1, 0) // 2 :]
    jumps = np.flatnonzero(upper[1:] > factor * upper[:-1])
    return float(upper[jumps[0]]) if len(jumps) else float("inf")
