"""A step along a line that meets the strong Wolfe conditions, as a coroutine.

Source: Nocedal, Wright. Numerical Optimization. 2nd edition 2006, Algorithms 3.5 and 3.6, interpolation 3.59.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

Point = np.ndarray[Any, np.dtype[np.float64]]
Question = tuple[Point, int]
"""A point [N], and the number of steps taken before."""
Answer = tuple[float, Point]
"""The cost at the point, and its gradient [N]."""

_DECREASE, _CURVATURE = 1e-4, 0.9
_MOST = 25  # evaluations along one line


@dataclass(frozen=True)
class Tried:
    """A point on the line: the size of the step to it, the cost there and its gradient [N]."""

    size: float
    point: Point
    cost: float
    gradient: Point


def wolfe_step(here: Tried, direction: Point, size: float, steps: int) -> Generator[Question, Answer, Tried]:
    """Return a point along ``direction`` of which the cost is lower, and the slope less steep, than here.

    Where none is found in 25 evaluations it is the lowest that was tried; of size 0 where none was lower.
    """
    slope = float(here.gradient @ direction)
    low, high = Tried(0.0, here.point, here.cost, here.gradient), None
    for _ in range(_MOST):
        point = here.point + size * direction
        cost, gradient = yield point, steps
        tried = Tried(size, point, cost, gradient)
        along = float(gradient @ direction) if math.isfinite(cost) else math.nan
        if not cost <= here.cost + _DECREASE * size * slope or cost >= low.cost:  # NaN is too far
            high = tried
        elif abs(along) <= -_CURVATURE * slope:
            return tried
        else:
            if along * ((size if high is None else high.size) - low.size) >= 0:
                high = low
            low = tried
        if high is None:
            size *= 3.0
        elif abs(high.size - low.size) * float(abs(direction).max()) < 1e-9:
            break
        else:
            size = _between(low, high, direction)
    return low


def _between(low: Tried, high: Tried, direction: Point) -> float:
    """Return where the cubic through two points and slopes is least, a tenth away from the ends."""
    left, right = sorted((low, high), key=lambda t: t.size)
    width = right.size - left.size
    middle = left.size + width / 2
    if not math.isfinite(right.cost) or not math.isfinite(left.cost):
        return middle
    a, b = float(left.gradient @ direction), float(right.gradient @ direction)
    d = a + b - 3 * (right.cost - left.cost) / width
    under = d * d - a * b
    if not under >= 0:
        return middle
    root = math.sqrt(under)
    denominator = b - a + 2 * root
    least = right.size - width * (b + root - d) / denominator if denominator else middle
    return min(max(least, left.size + width / 10), right.size - width / 10)
