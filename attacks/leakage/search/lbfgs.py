"""L-BFGS as a coroutine: it asks for the cost at a point, and whoever drives it answers.

So that several searches, each with a memory and a line of its own, are answered in one batch.

Source: Nocedal, Wright. Numerical Optimization. 2nd edition 2006, Algorithm 7.4. Without a line search, step
sizes are those of ``torch.optim.LBFGS``, which the authors of DLG used.
"""

import math
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass

from .line import Answer, Point, Question, Tried, wolfe_step


@dataclass(frozen=True)
class LBFGS:
    """How to search.

    Attributes:
        lr: Step size, above 0; with a line search the first one tried.
        history: Past steps that are remembered, at least 1.
        line_search: Whether each step meets the strong Wolfe conditions.

    Raises:
        ValueError: One of them is out of range.
    """

    lr: float
    history: int
    line_search: bool

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise ValueError(f"lr must be above 0, got {self.lr}")
        if self.history < 1:
            raise ValueError(f"history must be at least 1, got {self.history}")

    def search(self, start: Point) -> Generator[Question, Answer, str]:
        """Search from ``start`` until no direction leads down; the driver may leave at any time.

        A question is a point [N] and how many steps were taken before. Returns why it ended: ``"plateau"``,
        or ``"nan"`` where a step led to a cost that is no number.
        """
        memory, steps = _Memory(self.history), 0
        cost, gradient = yield start, steps
        here = Tried(0.0, start, cost, gradient)
        while math.isfinite(here.cost):
            direction = memory.direction(here.gradient)
            if not float(here.gradient @ direction) < 0:
                if not memory.pairs:
                    break  # the gradient is 0, or no number
                memory.forget()
                continue
            size = self.lr if memory.pairs else self.lr * min(1.0, 1.0 / float(abs(here.gradient).sum()))
            if self.line_search:
                there = yield from wolfe_step(here, direction, size, steps)
            else:
                point = here.point + size * direction
                cost, gradient = yield point, steps
                there = Tried(size, point, cost, gradient)
            if there.size == 0:
                if not memory.pairs:
                    break  # even straight down the gradient nothing is lower
                memory.forget()
                continue
            memory.add(there.point - here.point, there.gradient - here.gradient)
            here, steps = there, steps + 1
        return "plateau" if math.isfinite(here.cost) else "nan"


class _Memory:
    """Past steps, and how the gradient changed along each."""

    def __init__(self, size: int) -> None:
        self.pairs: deque[tuple[Point, Point, float]] = deque(maxlen=size)
        self.scale = 1.0

    def forget(self) -> None:
        self.pairs.clear()
        self.scale = 1.0

    def add(self, step: Point, change: Point) -> None:
        """Remember a step, if the cost curves upwards along it."""
        along, size = float(step @ change), float(change @ change)
        if along > 1e-10 * math.sqrt(float(step @ step) * size):
            self.pairs.append((step, change, 1 / along))
            self.scale = along / size

    def direction(self, gradient: Point) -> Point:
        """Return minus the approximate inverse Hessian times the gradient.  # [N]"""
        q, weights = -gradient, list[float]()
        for step, change, rho in reversed(self.pairs):
            weights.append(rho * float(step @ q))
            q -= weights[-1] * change
        q *= self.scale
        for (step, change, rho), weight in zip(self.pairs, reversed(weights), strict=True):
            q += (weight - rho * float(change @ q)) * step
        return q
