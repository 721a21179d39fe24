"""What a frame cost, and what it lost: bytes as they were sent, beside the bits of an ideal coder."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite

import torch
from torch import Tensor

from ....core.contracts import Codec
from ....core.errors import FrameError
from ....core.frames import Envelope, Record, payload_bytes, read_frame
from ....core.layout import Layout

_BLOCK = 2**16  # elements at a time: few enough that a core's cache holds them in float64


@dataclass(frozen=True)
class Account:
    """What one frame cost.

    Attributes:
        ideal_bits: What an ideal coder without context needs for what it says; None of a frame that does not
            decode.
        payload_bytes: Of its bodies: scales, positions, values, tables and padding.
        frame_bytes: All of it: 20 bytes, the records' headers and the bodies.
        nmse: The squared length of what was lost over that of the update; None where nothing was decoded, or
            the update is 0 or not finite.
    """

    ideal_bits: float | None
    payload_bytes: int
    frame_bytes: int
    nmse: float | None


def account_of(
    codec: Codec, frame: bytes, envelope: Envelope, layout: Layout, sent: Tensor, decoded: Tensor | None
) -> Account:
    """Return what a frame that this codec wrote cost.

    Args:
        codec, envelope, layout: As it was written with.
        frame: The bytes.
        sent: The update that was encoded.  # [P]
        decoded: What it decodes to; None where it does not.  # [P]
    """
    try:
        bits = float(codec.ideal_bits(read_frame(frame, envelope, codec.records(layout), len(frame)), layout))
    except FrameError:
        bits = None
    return Account(bits, payload_bytes(frame), len(frame), None if decoded is None else nmse(sent, decoded))


def accounts_of(
    codec: Codec,
    frames: Sequence[bytes],
    cohort: Sequence[Sequence[Record]],
    layout: Layout,
    sent: Tensor,
    decoded: Tensor,
) -> list[Account]:
    """Return ``account_of`` of frames that were read and decoded already, K of them, to the same bits.

    Args:
        codec, layout: As they were written with.
        frames: The bytes.
        cohort: What was read of each.
        sent: The updates that were encoded.  # [K, P]
        decoded: What they decode to.  # [K, P]
    """
    return [
        Account(
            _ideal_bits(codec, records, layout), sum(len(r.body) for r in records), len(frame), share_lost
        )
        for frame, records, share_lost in zip(frames, cohort, nmses(sent, decoded), strict=True)
    ]


def _ideal_bits(codec: Codec, records: Sequence[Record], layout: Layout) -> float | None:
    try:
        return float(codec.ideal_bits(records, layout))
    except FrameError:
        return None


def nmse(sent: Tensor, decoded: Tensor) -> float | None:
    """Return ||decoded - sent||^2 / ||sent||^2, in float64; None where that is no number."""
    return nmses(sent[None], decoded[None])[0]


def nmses(sent: Tensor, decoded: Tensor) -> list[float | None]:
    """Return ``nmse`` of every row of [K, P]."""
    length, lost = (torch.empty(len(sent), dtype=torch.float64) for _ in range(2))  # [K] each
    rows = max(1, _BLOCK // max(sent.shape[1], 1))
    wide, error = (torch.empty(rows, sent.shape[1], dtype=torch.float64) for _ in range(2))
    for begin in range(0, len(sent), rows):
        own = slice(begin, begin + rows)
        x = wide[: len(length[own])].copy_(sent[own])  # [rows, P]
        e = torch.sub(decoded[own], x, out=error[: len(x)])  # [rows, P]
        torch.sum(x.square_(), dim=1, out=length[own])
        torch.sum(e.square_(), dim=1, out=lost[own])
    shares = (e / s if s > 0 else inf for e, s in zip(lost.tolist(), length.tolist(), strict=True))
    return [share if isfinite(share) else None for share in shares]
