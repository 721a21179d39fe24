"""Tiny subspace: a message as its few coordinates along the directions in which the model moved.

Source: Gur-Ari, Roberts, Dyer. Gradient Descent Happens in a Tiny Subspace. 2018. arXiv:1812.04754 (the
gradient comes to lie in the span of as many Hessian eigenvectors as there are classes). That one may train
in it alone does not follow: Song, Ahn, Yun. Does SGD really happen in tiny subspaces? ICLR 2025.
arXiv:2405.16002 (such steps stop lowering the loss; steps outside lower it). Directions are principal ones of
the server's steps, as a server without data of its own can find them, and not Hessian eigenvectors. LBGM
(2202.00280) needs a reference of each client's on both sides, which frames that are read alone do not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ...core.contracts import CodecContext, CodecStreams
from ...core.frames import Record, RecordShape
from ...core.layout import Layout
from ...core.trees import State
from ...core.updates import Updates
from .parts.images import ImageMismatch
from .parts.matrices import rounded
from .parts.packing import DENSE_F32, Array, as_bytes, expect_tag, finite_rows, pack_floats, unpack_values

ALONG = 0x40
"""Tag: float32 coordinates in a basis that both sides know."""


@dataclass(frozen=True)
class Subspace:
    """Send U^T u of an update u [P], with U [P, rank] common and orthonormal; what is decoded is U U^T u.

    U are the first left singular vectors of the server's last ``window`` steps that followed whole
    messages. It goes down before every round (4 P rank bytes: far more than is saved on the way up), and the
    codec keeps steps from round to round: no central epsilon is printed. Messages are whole in the first
    ``warmup`` rounds and then in every ``refresh``-th, since steps inside the subspace never show another; a
    message that is not as long as the parameters always is. Biased, never longer than u, and linear.
    Training is known to stall inside the subspace: this is a negative result to show, and error feedback is
    the repair to show beside it.

    Attributes:
        rank: Columns of U, at least 1; as many as there are steps, if that is less.
        window: The most steps that U is made of, at least 1.
        refresh: Rounds from one whole message to the next, at least 2.
        warmup: The first rounds, of whole messages, at least 1.
        complement: Send u - U U^T u instead, in float32: the control, which saves nothing.
    """

    codec_id: ClassVar[int] = 16
    contractive: ClassVar[bool] = True
    additive: ClassVar[bool] = True
    reads_params: ClassVar[bool] = True
    of_one_round: ClassVar[bool] = True

    rank: int = 10
    window: int = 100
    refresh: int = 5
    warmup: int = 10
    complement: bool = False

    def __post_init__(self) -> None:
        for name, least in (("rank", 1), ("window", 1), ("refresh", 2), ("warmup", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")

    def init(self) -> State:
        return {"round": -1, "params": None, "steps": [], "basis": None}

    def share(self, params: Tensor, aggregate: Tensor, state: State) -> State:
        """Return U of the next round, float32 [P, r]; None where messages will be whole."""
        round_ = state["round"] + 1
        if round_ < self.warmup or (round_ - self.warmup) % self.refresh == self.refresh - 1:
            return None
        if state["basis"] is not None:
            return state["basis"]
        steps = self._steps(params, state)
        return _principal(steps, self.rank) if steps else None

    def _steps(self, params: Tensor, state: State) -> list[Tensor]:
        """Return the server's last steps after rounds of whole messages, the one to ``params`` included."""
        before, steps = state["params"], list(state["steps"])
        if before is None or before.shape != params.shape or state["basis"] is not None:
            return steps
        step = params - before
        moved = bool(step.isfinite().all()) and bool(step.any())
        return [*steps, step][-self.window :] if moved else steps

    def encode(
        self, updates: Updates, layout: Layout, state: State, streams: CodecStreams
    ) -> tuple[list[list[Record]], State]:
        """Return the coordinates, or the whole message, of every client, as one record."""
        basis = _basis(layout, streams.shared)
        finite, vectors = finite_rows(updates.vectors.detach().cpu().numpy())
        if basis is not None:
            wide = vectors.astype(np.float64)
            along = wide[:, None, :] @ basis  # [K, 1, r]: a product a client, whoever else there is
            vectors = rounded(wide - (along @ basis.T)[:, 0] if self.complement else along[:, 0])
        vectors = np.where(finite[:, None], vectors, np.float32(np.nan))
        tag = ALONG if basis is not None and not self.complement else DENSE_F32
        rows = [[Record(0, tag, layout.num_parameters, body)] for body in as_bytes(pack_floats(vectors))]
        return rows, self._after(state, streams)

    def _after(self, state: State, streams: CodecStreams) -> State:
        """Return the state after a round has begun, the same for all of its messages."""
        if streams.round == state["round"] or streams.params is None:
            return state
        steps = self._steps(streams.params, state)
        return {"round": streams.round, "params": streams.params, "steps": steps, "basis": streams.shared}

    def decode(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
        """Return U U^T u, u - U U^T u, or u.  # [P]

        Raises:
            FrameError: Another tag or length than the round's, or a value that is not finite.
        """
        (record,), basis = records, _basis(layout, context.shared)
        if basis is None or self.complement:
            expect_tag(record, DENSE_F32)
            return torch.from_numpy(unpack_values(record.body, layout.num_parameters, "<f4"))
        expect_tag(record, ALONG)
        along = unpack_values(record.body, basis.shape[1], "<f4").astype(np.float64)
        return torch.from_numpy(rounded(basis @ along))

    def mismatch(self, records: Sequence[Record], layout: Layout, context: CodecContext) -> ImageMismatch:
        """Return 1 - cos to what is sent of an update: the rest may be anything."""
        basis = _basis(layout, context.shared)
        image = Along(None if basis is None else torch.from_numpy(basis).float(), self.complement)
        return ImageMismatch.of(self.decode(records, layout, context), image)

    def records(self, layout: Layout) -> Sequence[RecordShape]:
        """Return one record, of the whole message."""
        return (RecordShape(0, (layout.num_parameters,)),)

    def max_body(self, shape: tuple[int, ...]) -> int:
        return 4 * max(shape[0], 1 if self.complement else self.rank)

    def ideal_bits(self, records: Sequence[Record], layout: Layout) -> float:
        """Return 32 bits a number sent; U is counted as bytes down."""
        return 8.0 * sum(len(record.body) for record in records)


@dataclass(frozen=True, eq=False)
class Along:
    """The map of updates [..., P] to what is sent of them.

    Attributes:
        basis: U, float32 [P, r]; None: all is sent.
        complement: Whether what lies outside the span is sent.
    """

    basis: Tensor | None
    complement: bool

    def __call__(self, updates: Tensor) -> Tensor:
        if self.basis is None:
            return updates
        along: Tensor = (updates @ self.basis) @ self.basis.T
        return updates - along if self.complement else along


def _principal(steps: Sequence[Tensor], rank: int) -> Tensor:
    """Return the first left singular vectors of steps [P] as columns, float32 [P, r]."""
    matrix = torch.stack(list(steps)).double()
    matrix = matrix / matrix.abs().max()
    _, values, right = torch.linalg.svd(matrix, full_matrices=False)
    count = min(rank, int((values > 1e-6 * values[0]).sum()))
    found: Tensor = right[:count].T.float().contiguous()
    return found


def _basis(layout: Layout, shared: State) -> Array | None:
    """Return U of a message of this layout, float64; None where it is sent whole."""
    if shared is None or len(shared) != layout.num_parameters:
        return None
    basis: Array = shared.double().numpy()
    return basis
