"""What a frame cost, and what it lost: bytes as they were sent, beside the bits of an ideal coder."""

from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor

from ....core.contracts import Codec
from ....core.errors import FrameError
from ....core.frames import Envelope, read_frame
from ....core.layout import Layout
from .wire import payload_bytes


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
        records = read_frame(frame, envelope, codec.records(layout), len(frame))
        bits = float(codec.ideal_bits(records, layout))
    except FrameError:
        bits = None
    return Account(bits, payload_bytes(frame), len(frame), None if decoded is None else nmse(sent, decoded))


def nmse(sent: Tensor, decoded: Tensor) -> float | None:
    """Return ||decoded - sent||^2 / ||sent||^2, in float64; None where that is no number."""
    wide = sent.to(torch.float64)
    length = float(wide.square().sum())
    lost = float((decoded.to(torch.float64) - wide).square().sum())
    return lost / length if length > 0 and isfinite(lost / length) else None
