"""The past queries of a client: as many as it remembers, among which those near a point are found."""

import torch
from torch import Tensor

from ....core.contracts import Visit
from .black_box import Queries
from .surrogates import nearest


class History:
    """A client's past queries: as many as it remembers, the oldest overwritten."""

    def __init__(self, points: Tensor, values: Tensor, count: int) -> None:
        """Take points [H, P] and values [H], float64, and how many were asked in all."""
        self._points, self._values, self._count = points, values, count

    @classmethod
    def of(cls, visit: Visit) -> "History":
        """Return a client's own, to be added to."""
        own = visit.own
        return cls(own["points"].double(), own["values"].double(), int(own["count"]))

    def ask(self, queries: Queries, points: Tensor) -> None:
        """Ask at some points [n, P], in order, and remember the answers."""
        answers, kept = queries.at(points), min(len(points), len(self._values))  # no place is written twice
        self._count += len(points)
        where = (self._count - kept + torch.arange(kept)) % len(self._values)
        self._points[where], self._values[where] = points[-kept:], answers[-kept:]

    def __len__(self) -> int:
        return min(self._count, len(self._values))

    def near(self, x: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return the queries nearest to x: points [n, P] and values [n]."""
        rows = nearest(self._points[: len(self)], x, count)
        return self._points[rows], self._values[rows]

    def asked(self, number: int) -> Tensor:
        """Return the answer to a query of this visit by its number in all.  # []"""
        return self._values[number % len(self._values)].clone()

    def at(self, queries: Queries, x: Tensor) -> Tensor:
        """Return the loss at a point [P], asked for anew where it is no longer remembered.  # []"""
        points, values = self.near(x, 1)
        if not torch.equal(points[0], x):
            self.ask(queries, x[None])
            return self.last_asked
        return values[0].clone()

    @property
    def last_asked(self) -> Tensor:
        """The answer to the last one."""
        return self.asked(self._count - 1)

    def flat(self) -> tuple[Tensor, ...]:
        """Return points [H P], values [H] and the count [1]."""
        return self._points.flatten(), self._values, torch.tensor([self._count], dtype=torch.float64)
