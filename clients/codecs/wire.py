"""From a cohort's updates to frames and back, with any codec.

A frame that does not decode is the sender's fault: it is rejected with a reason, and the others go on.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...core.contracts import Codec
from ...core.errors import FrameError, PluginError, named_faults
from ...core.frames import OVERHEAD, Envelope, read_frame, read_uvarint, uvarint, write_frame
from ...core.layout import Layout
from ...core.registry import require
from ...core.seeds import Streams
from ...core.trees import State
from ...core.updates import Updates


def encode_cohort(
    codec: Codec, updates: Updates, layout: Layout, round: int, spec: int, state: State, streams: Streams
) -> tuple[list[bytes], State]:
    """Return one frame a client, in the order of the rows, and the codec's next state."""
    rows, state = codec.encode(updates, layout, state, streams)
    require(len(rows) == len(updates), f"the codec encoded {len(rows)} of {len(updates)} clients")
    envelopes = (Envelope(codec.codec_id, round, client, spec) for client in updates.client_ids.tolist())
    with named_faults("the codec's records make no frame"):
        return [write_frame(e, records) for e, records in zip(envelopes, rows, strict=True)], state


class VerbatimFrames(Sequence[bytes]):
    """One frame a client of a codec that declares ``verbatim``: written when somebody looks at it.

    Such a codec keeps no state, its frames are all as long as the longest legal one, and decoding gives back
    what was encoded to the last bit; its contract holds all three. So a round needs no bytes to go on.
    """

    def __init__(self, codec: Codec, updates: Updates, layout: Layout, round: int, spec: int) -> None:
        self._codec, self._layout, self._round, self._spec = codec, layout, round, spec
        self.updates, self.size = updates, max_frame(codec, layout)

    def __len__(self) -> int:
        return len(self.updates)

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self[r] for r in range(*row.indices(len(self)))]
        one = self.updates.rows(torch.tensor([range(len(self))[row]]))
        return encode_cohort(self._codec, one, self._layout, self._round, self._spec, None, _no_streams)[0][0]


def _no_streams(client_id: int) -> Any:
    raise PluginError(f"a codec that declares verbatim draws random numbers (for client {client_id})")


def max_frame(codec: Codec, layout: Layout) -> int:
    """Return the length of the longest legal frame, in bytes."""
    length = OVERHEAD
    for i, slot in enumerate(layout.parameters):
        body = codec.max_body(slot.size)
        length += len(uvarint(i)) + 1 + len(uvarint(slot.size)) + len(uvarint(body)) + body
    return length


def decode_frame(codec: Codec, frame: bytes, envelope: Envelope, layout: Layout) -> Tensor:
    """Return the update [P] that one frame stands for.

    Raises:
        FrameError: It is not a legal frame of this codec, round, client and spec.
    """
    sizes = [slot.size for slot in layout.parameters]
    return _decode(codec, frame, envelope, layout, sizes, max_frame(codec, layout))


def decode_cohort(
    codec: Codec, frames: Sequence[bytes], client_ids: Sequence[int], layout: Layout, round: int, spec: int
) -> tuple[Tensor, list[tuple[int, str]]]:
    """Return the updates that decode [K', P], in order, and (row, reason) of each that does not.

    ``client_ids`` are those the server expects: a frame that names another sender is rejected.
    """
    sizes, longest = [slot.size for slot in layout.parameters], max_frame(codec, layout)
    vectors = torch.empty(len(frames), layout.num_parameters)
    good, rejected = 0, []
    for row, (frame, client) in enumerate(zip(frames, client_ids, strict=True)):
        envelope = Envelope(codec.codec_id, round, int(client), spec)
        try:
            vectors[good] = _decode(codec, frame, envelope, layout, sizes, longest)
            good += 1
        except FrameError as error:
            rejected.append((row, str(error)))
    return vectors[:good], rejected


def _decode(
    codec: Codec, frame: bytes, envelope: Envelope, layout: Layout, sizes: Sequence[int], longest: int
) -> Tensor:
    vector = codec.decode(read_frame(frame, envelope, sizes, longest), layout)
    fits = vector.shape == (layout.num_parameters,) and vector.dtype == torch.float32
    require(fits, f"decode gave {vector.dtype} {tuple(vector.shape)}, expected float32 [P]")
    return vector


def payload_bytes(frame: bytes) -> int:
    """Return the bytes of a legal frame's bodies: without header, record headers and checksum.

    Raises:
        FrameError: The records do not end where the frame does.
    """
    at, payload, end = OVERHEAD - 4, 0, len(frame) - 4  # before them the header, after them the CRC
    while at < end:
        _, at = read_uvarint(frame, at)
        _, at = read_uvarint(frame, at + 1)
        length, at = read_uvarint(frame, at)
        payload, at = payload + length, at + length
    if at != end:
        raise FrameError(f"frame: its records end at byte {at}, expected {end}")
    return payload
