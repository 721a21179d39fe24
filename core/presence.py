"""Which coordinates of a message the clients of a cohort have, where these train models of several sizes.

It follows from the server's own assignment of levels to clients, never from what a frame says.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from torch import Tensor

from .layout import Layout, Slot

_CODED = 32  # levels that one whole number tells apart before it is renumbered


@dataclass(frozen=True, eq=False)
class Presence:
    """What each level has of a message, and each client's level.

    Attributes:
        levels: Whether a level has a coordinate, bool.  # [L, M]
        level: Each client's level, int64.  # [K]

    Raises:
        ValueError: Shapes or types that do not fit, or a level that does not exist.
    """

    levels: Tensor
    level: Tensor

    def __post_init__(self) -> None:
        if self.levels.ndim != 2 or self.levels.dtype != torch.bool:
            raise ValueError(
                f"levels must be bool [L, M], got {self.levels.dtype} {tuple(self.levels.shape)}"
            )
        if self.level.ndim != 1 or self.level.dtype != torch.int64:
            raise ValueError(f"level must be int64 [K], got {self.level.dtype} {tuple(self.level.shape)}")
        outside = [n for n in _distinct(self.level) if not 0 <= n < len(self.levels)]
        if outside:
            raise ValueError(f"level must be from 0 to {len(self.levels) - 1}, got {outside[0]}")

    def __len__(self) -> int:
        return len(self.level)

    def rows(self, keep: Tensor | slice) -> "Presence":
        """Return the presence of the clients where ``keep`` [K] is true, or of row numbers, or of a slice."""
        return replace(self, level=self.level[keep])

    def joined(self, others: Sequence["Presence"]) -> "Presence":
        """Return the presence of these clients and, behind them, those of other cohorts."""
        parts = [self, *others]
        if all(part.levels is self.levels for part in others):
            return replace(self, level=torch.cat([part.level for part in parts]))
        before = [sum(len(part.levels) for part in parts[:n]) for n in range(len(parts))]
        level = torch.cat([part.level + shift for part, shift in zip(parts, before, strict=True)])
        return Presence(torch.cat([part.levels for part in parts]), level)

    @property
    def everything(self) -> bool:
        """Whether every client has every coordinate."""
        return all(bool(self.levels[level].all()) for level, _ in self.by_level())

    def by_level(self) -> list[tuple[int, Tensor]]:
        """Return every level that some client has, ascending, and the rows of its clients, ascending."""
        return [(n, (self.level == n).nonzero().flatten()) for n in _distinct(self.level)]

    def sizes(self) -> Tensor:
        """Return how many coordinates each client has, int64.  # [K]"""
        return self.levels.sum(dim=1)[self.level]

    def totals(self, weights: Tensor) -> Tensor:
        """Return the sum of ``weights`` [K] over the clients that have a coordinate, float64.  # [M]"""
        total = torch.zeros(self.levels.shape[1], dtype=torch.float64)
        for level, rows in self.by_level():
            total[self.levels[level]] += weights.double()[rows].sum()
        return total

    def owners(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (coordinates that the same clients have, those clients' rows), both ascending, int64.

        Every coordinate comes once; the clients of one that nobody has are none.
        """
        used = self.by_level()
        code = torch.zeros(self.levels.shape[1], dtype=torch.int64)  # [M]
        for number, (level, _) in enumerate(used, start=1):
            code = code.mul_(2).add_(self.levels[level])
            if number % _CODED == 0:
                code = torch.from_numpy(np.unique(code.numpy(), return_inverse=True)[1])
        for kind in _distinct(code):
            columns = (code == kind).nonzero().flatten()
            own = [rows for level, rows in used if bool(self.levels[level, columns[0]])]
            yield columns, torch.cat(own).sort().values if own else columns[:0]

    def masked(self, vectors: Tensor) -> Tensor:
        """Return ``vectors`` [K, M] with exactly 0 where a client does not have a coordinate."""
        found = vectors.clone()
        for level, rows in self.by_level():
            if not bool(self.levels[level].all()):
                found[rows] = vectors[rows].where(self.levels[level], 0.0)
        return found

    def intruder(self, vectors: Tensor) -> int | None:
        """Return the first row of ``vectors`` [K, M] that is not 0 where its client has nothing, or None."""
        for level, rows in self.by_level():
            absent = ~self.levels[level]
            if not bool(absent.any()):
                continue
            for row in rows.tolist():
                if bool(((vectors[row] != 0) & absent).any()):
                    return int(row)
        return None


def reduced(layout: Layout, present: Tensor) -> Layout:
    """Return the layout of the coordinates of ``layout`` that are ``present`` [M], in their order.

    A tensor of which whole rows, columns and so on are left keeps as many dimensions; one of which anything
    else is left becomes flat; one of which nothing is left goes.
    """
    slots, start = [], 0
    for slot in layout.parameters:
        part = present[slot.start : slot.start + slot.size].view(slot.shape)
        if count := int(part.sum()):
            shape = _kept_shape(part)
            slots.append(Slot(slot.name, shape if prod(shape) == count else (count,), start))
            start += count
    return Layout(tuple(slots), layout.buffers)


def _kept_shape(part: Tensor) -> tuple[int, ...]:
    """Return in how many places of each dimension something is left."""
    places = part.nonzero()  # [n, dimensions]
    return tuple(len(_distinct(places[:, dimension])) for dimension in range(part.ndim))


def _distinct(numbers: Tensor) -> list[int]:
    """Return the different values of whole numbers, ascending."""
    found: list[int] = np.unique(numbers.numpy()).tolist()
    return found


def by_level(presence: Presence) -> list[tuple[Tensor, Tensor]]:
    """Return (what a level has [M], the rows of its clients) of every level that some client has."""
    return [(presence.levels[level], rows) for level, rows in presence.by_level()]
