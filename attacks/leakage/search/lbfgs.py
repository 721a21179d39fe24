"""L-BFGS as a coroutine: it asks for the cost at a point, and whoever drives it answers.

So that several searches, each with a memory and a line of its own, are answered in one batch.

Source: Nocedal, Wright. Numerical Optimization. 2nd edition 2006, Algorithm 7.4. Without a line search, step
sizes are those of ``torch.optim.LBFGS``, which the authors of DLG used.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass
from math import inf

import numpy as np

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
        if not 0 < self.lr < inf:
            raise ValueError(f"lr must be above 0 and finite, got {self.lr}")
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
                if not len(memory):
                    break  # the gradient is 0, or no number
                memory.forget()
                continue
            size = self.lr if len(memory) else self.lr * min(1.0, 1.0 / float(abs(here.gradient).sum()))
            if self.line_search:
                there = yield from wolfe_step(here, direction, size, steps)
            else:
                point = here.point + size * direction
                cost, gradient = yield point, steps
                there = Tried(size, point, cost, gradient)
            if there.size == 0:
                if not len(memory):
                    break  # even straight down the gradient nothing is lower
                memory.forget()
                continue
            memory.add(there.point - here.point, there.gradient - here.gradient)
            here, steps = there, steps + 1
        return "plateau" if math.isfinite(here.cost) else "nan"


class _Memory:
    """The last m steps, and how the gradient changed along each, oldest first, with their inner products."""

    def __init__(self, size: int) -> None:
        self.size, self.scale = size, 1.0
        self._first = self._last = 0
        self._steps = self._changes = np.empty((0, 0))  # [2 m, N], of which rows first to last count
        self._products = self._squares = np.empty((0, 0))  # [2 m, 2 m]: steps by changes, changes by changes

    def __len__(self) -> int:
        return self._last - self._first

    def forget(self) -> None:
        self._first = self._last = 0
        self.scale = 1.0

    def add(self, step: Point, change: Point) -> None:
        """Remember a step, if the cost curves upwards along it."""
        along, size = float(step @ change), float(change @ change)
        if not along > 1e-10 * math.sqrt(float(step @ step) * size):
            return
        self._make_room(len(step))
        new, held = self._last, slice(self._first, self._last + 1)
        self._steps[new], self._changes[new] = step, change
        self._products[held, new] = self._steps[held] @ change
        self._squares[held, new] = self._squares[new, held] = self._changes[held] @ change
        self._last, self.scale = new + 1, along / size

    def _make_room(self, unknowns: int) -> None:
        """Drop the oldest step of as many as may be; where the room ends, move all to its front."""
        if not self._steps.size:
            self._steps, self._changes = np.empty((2, 2 * self.size, unknowns))
            self._products, self._squares = np.empty((2, 2 * self.size, 2 * self.size))
        self._first += len(self) == self.size
        if self._last == 2 * self.size:
            held, count = slice(self._first, self._last), len(self)
            for rows in (self._steps, self._changes):
                rows[:count] = rows[held]
            for table in (self._products, self._squares):
                table[:count, :count] = table[held, held].copy()
            self._first, self._last = 0, count

    def direction(self, gradient: Point) -> Point:
        """Return minus the approximate inverse Hessian times the gradient.  # [N]

        Byrd, Nocedal, Schnabel. Representations of Quasi-Newton Matrices. 1994, Equation 3.1: with R the
        upper triangle of the products, D its diagonal, p = R^-1 S g and q = R^-T ((D + scale Y Y^T) p -
        scale Y g), it is -(scale g + S^T q - scale Y^T p).
        """
        if not len(self):
            return -gradient
        from scipy.linalg.lapack import dtrtrs

        held = slice(self._first, self._last)
        steps, changes, upper = self._steps[held], self._changes[held], self._products[held, held]
        p, _ = dtrtrs(upper, steps @ gradient)
        weighted = upper.diagonal() * p + self.scale * (self._squares[held, held] @ p - changes @ gradient)
        q, _ = dtrtrs(upper, weighted, trans=1)
        found: Point = self.scale * (p @ changes - gradient) - q @ steps
        return found
