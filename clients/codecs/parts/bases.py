"""Bases of subspaces that both sides of a frame know: where they come from, and when they are renewed.

Source: Zhao, Zhang, Chen, Wang, Anandkumar, Tian. GaLore: Memory-Efficient LLM Training by Gradient Low-Rank
Projection. ICML 2024. arXiv:2403.03507 (a basis every T steps, of the singular vectors of a gradient); Zhang,
Jaiswal, Yin, Liu, Zhao, Tian, Wang. Q-GaLore. 2024. arXiv:2407.08296 (period doubling, quantised bases). That
the gradient is the server's last aggregate is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from ....core.seeds import generator
from .affine import packed_basis, unpacked_basis
from .matrices import standing, standing_shape

if TYPE_CHECKING:
    from ....core.contracts import CodecContext, CodecStreams
    from ....core.layout import Layout
    from ....core.trees import State
    from .packing import Array

ALIKE, MEMORY = 0.4, 5  # Q-GaLore: the mean of so many cosines above which a basis is kept twice as long


@dataclass(frozen=True)
class Bases:
    """The bases [short, rank] of a layout's matrices. Matrices whose thin side is ``rank`` or less have none.

    Attributes:
        rank: Columns of a basis, at least 1.
        period: Rounds between two bases of a matrix, at least 2 where it is sent whole to find one.
        refresh: ``"full"``, ``"server"`` or ``"random"``: see ``low_rank``.
        columns: Whether a basis is a choice of columns.
        bits: Bits of a number of a basis that the server sends; None: float32.
        lazy: Whether the period of a matrix doubles where its bases hardly differ.
    """

    rank: int
    period: int
    refresh: Literal["full", "server", "random"]
    columns: bool = False
    bits: int | None = None
    lazy: bool = False

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank must be at least 1, got {self.rank}")
        least = 2 if self.refresh == "full" else 1
        if self.period < least:
            raise ValueError(
                f"period must be at least {least} with refresh '{self.refresh}', got {self.period}"
            )
        if self.bits is not None and not 2 <= self.bits <= 8:
            raise ValueError(f"bits must be between 2 and 8, or left out, got {self.bits}")
        drawn = self.refresh == "random"
        if drawn and (self.lazy or self.bits is not None):
            raise ValueError("refresh 'random' sends no basis: leave out lazy and bits")
        if self.columns and (self.lazy or self.bits is not None):
            raise ValueError("columns have no directions: leave out lazy and bits")

    def has(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape is projected at all."""
        return self.rank < standing_shape(shape)[1]

    def init(self) -> State:
        return None if self.refresh == "random" else {"shapes": [], "round": 0, "bases": None}

    def after(self, state: State, layout: Layout, streams: CodecStreams) -> State:
        """Return the state after a round that was encoded: whose tensors, and with which bases."""
        if self.refresh == "random":
            return None
        shapes = [list(slot.shape) for slot in layout.parameters]
        return {"shapes": shapes, "round": streams.round + 1, "bases": streams.shared}

    def share(self, params: Tensor, aggregate: Tensor, state: State) -> State:
        """Return what both sides know of each tensor's basis in the next round; None before the first one."""
        shapes = [tuple(shape) for shape in state["shapes"]]
        numel = sum(map(prod, shapes))
        source = params if self.refresh == "server" else aggregate
        if self.refresh == "server" and len(params) and numel % len(params) == 0:
            source = params.repeat(numel // len(params))  # a message of several groups has each tensor again
        if not shapes or numel != len(source) or not bool(source.isfinite().all()):
            return state["bases"]
        entries, found, at = state["bases"] or [None] * len(shapes), [], 0
        for entry, shape in zip(entries, shapes, strict=True):
            part = source[at : at + prod(shape)].detach().cpu().numpy()
            at += len(part)
            found.append(self._next(entry, part, shape, state["round"]) if self.has(shape) else None)
        return found

    def _next(self, entry: State, part: Array, shape: tuple[int, ...], round_: int) -> State:
        """Return what is known of one matrix in a round, from what was known in the round before."""
        whole = entry is None or entry["due"]  # it was sent whole in the round before
        if not whole:
            due = round_ >= entry["until"]
            if self.refresh == "full" or not due:
                return {**entry, "due": due}
        if not part.any():
            return entry
        basis = self._found(standing(part[None], shape)[0])
        period, cosines = self.period, list[float]()
        if self.lazy and entry is not None:
            period, cosines = self._lazily(entry, basis)
        start = round_ - 1 if self.refresh == "full" else round_
        told = {"basis": self._told(basis), "short": len(basis), "until": start + period, "due": False}
        return {**told, "period": period, "cosines": cosines} if self.lazy else told

    def _found(self, matrix: Array) -> Array:
        """Return the basis of a matrix [long, short]: singular vectors, or its longest columns."""
        if self.columns:
            order = np.argsort(-np.square(matrix).sum(axis=0), kind="stable")
            return np.eye(matrix.shape[1])[:, np.sort(order[: self.rank])]
        found: Array = np.linalg.svd(matrix / np.abs(matrix).max(), full_matrices=False)[2][: self.rank].T
        return found

    def _lazily(self, entry: State, basis: Array) -> tuple[int, list[float]]:
        """Return the period of a new basis, and the cosines between the first vectors of the last ones."""
        before = self._basis(entry["basis"], len(basis))
        cosines = [*entry["cosines"], float(abs(before[:, 0] @ basis[:, 0]))][-MEMORY:]
        alike = len(cosines) == MEMORY and float(np.mean(cosines)) >= ALIKE
        return entry["period"] * (2 if alike else 1), [] if alike else cosines

    def _told(self, basis: Array) -> Any:
        if self.columns:
            return torch.from_numpy(basis.argmax(axis=0).astype(np.int32))
        if self.bits is not None:
            return packed_basis(basis, self.bits)
        return torch.from_numpy(np.ascontiguousarray(basis, dtype=np.float32))

    def known(self, layout: Layout, context: CodecContext) -> list[Array | None]:
        """Return each tensor's basis, float64 [short, rank]; None of those that are sent whole this round."""
        shapes = [slot.shape for slot in layout.parameters]
        if self.refresh == "random":
            epoch = context.round // self.period
            return [
                self._drawn(generator(context.seed, "basis", epoch, i), shape) if self.has(shape) else None
                for i, shape in enumerate(shapes)
            ]
        entries = context.shared
        if entries is None or not self._fits(entries, shapes):
            return [None] * len(shapes)
        return [self._read(entry, shape) for entry, shape in zip(entries, shapes, strict=True)]

    def _fits(self, entries: Sequence[State], shapes: Sequence[tuple[int, ...]]) -> bool:
        """Return whether what is shared is of these tensors: a message of others is sent whole."""
        if len(entries) != len(shapes):
            return False
        found = [0 if entry is None else entry["short"] for entry in entries]
        return all(s in (0, standing_shape(shape)[1]) for s, shape in zip(found, shapes, strict=True))

    def _read(self, entry: State, shape: tuple[int, ...]) -> Array | None:
        if entry is None or entry["due"] or not self.has(shape):
            return None
        return self._basis(entry["basis"], standing_shape(shape)[1])

    def _basis(self, told: Any, short: int) -> Array:
        if self.columns:
            return np.eye(short)[:, told.numpy()]
        if self.bits is not None:
            return unpacked_basis(told, self.bits, (short, self.rank))
        basis: Array = told.numpy().astype(np.float64)
        return basis

    def _drawn(self, stream: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Return an orthonormal basis, or a choice of columns, that is as likely as any other."""
        short = standing_shape(shape)[1]
        if self.columns:
            order = np.argsort(stream.bit_generator.random_raw(short), kind="stable")
            return np.eye(short)[:, np.sort(order[: self.rank])]
        q, r = np.linalg.qr(stream.standard_normal((short, self.rank)))
        return q * np.where(np.diagonal(r) < 0, -1.0, 1.0)


class Based(Protocol):
    """A codec with bases."""

    @property
    def _bases(self) -> Bases: ...


def init_bases(self: Based) -> State:
    """Return no bases yet; None where none is remembered."""
    return self._bases.init()


share_bases: Any = property(lambda self: None if self.refresh == "random" else self._bases.share)
of_one_round: Any = property(lambda self: self.refresh == "full")


@dataclass(frozen=True, eq=False)
class Projection:
    """The map of updates [..., P] to their parts in the subspaces of some tensors; others stay as they are.

    Attributes:
        parts: Of each such tensor its start, its sides as a matrix [n, m], and a projector float32, [m, m] of
            its rows or [n, n] of its columns, whichever is shorter.
    """

    parts: tuple[tuple[int, tuple[int, int], Tensor], ...]

    @classmethod
    def of(cls, layout: Layout, bases: Sequence[Array | None]) -> Projection:
        found = []
        for slot, basis in zip(layout.parameters, bases, strict=True):
            if basis is not None:
                sides = slot.shape[0], prod(slot.shape[1:])
                found.append((slot.start, sides, torch.from_numpy(basis @ basis.T).float()))
        return cls(tuple(found))

    def __call__(self, updates: Tensor) -> Tensor:
        for start, (n, m), projector in self.parts:
            end = start + n * m
            matrix = updates[..., start:end].reshape(*updates.shape[:-1], n, m)
            part = projector @ matrix if n < m else matrix @ projector
            updates = updates.slice_scatter(part.flatten(-2), dim=-1, start=start, end=end)
        return updates
