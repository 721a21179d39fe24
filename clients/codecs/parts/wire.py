"""From a cohort's updates to frames and back, with any codec.

A frame that does not decode is the sender's fault: it is rejected with a reason, and the others go on. A
client that does not have all coordinates sends a frame of those alone that it has, level by level: the
layout that both sides use is what is left of the whole one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ....core.contracts import Codec, CodecContext, CodecStreams, Mismatch
from ....core.declarations import Codecs, declared
from ....core.errors import FrameError, named_faults
from ....core.frames import (
    Envelope,
    Record,
    part_spec,
    read_frame,
    write_frame,
)
from ....core.layout import Layout
from ....core.presence import Presence, by_level, reduced
from ....core.registry import require
from ....core.trees import State
from ....core.updates import Updates
from ....core.wanted import is_plain, kind_of
from .sizes import longest_frames, longest_of


class TogetherDecoded(Protocol):
    """A codec that decodes frames of one round together."""

    def decode_cohort(
        self, cohort: Sequence[Sequence[Record]], layout: Layout, contexts: Sequence[CodecContext]
    ) -> Tensor: ...


BLOCK = 1 << 20
"""Coordinates that are encoded or decoded at once, at least one client's: more would leave the caches."""


def encode_cohort(
    codec: Codec, updates: Updates, layout: Layout, spec: int, state: State, streams: CodecStreams
) -> tuple[list[bytes], State]:
    """Return one frame a client, in the order of the rows, and the codec's next state."""
    if updates.presence is None:
        return _encode(codec, updates, layout, spec, state, streams)
    frames = [b""] * len(updates)
    whole = replace(updates, presence=None)
    for present, rows in by_level(updates.presence):
        own, part = whole.rows(rows), reduced(layout, present)
        own = own.with_vectors(own.vectors[:, present])
        found, state = _encode(codec, own, part, frame_spec(spec, present), state, streams)
        for row, frame in zip(rows.tolist(), found, strict=True):
            frames[row] = frame
    return frames, state


def frame_spec(spec: int, present: Tensor) -> int:
    """Return the spec of frames that hold what is ``present`` [M] of messages of this spec."""
    return spec if bool(present.all()) else part_spec(spec, present)


def _encode(
    codec: Codec, updates: Updates, layout: Layout, spec: int, state: State, streams: CodecStreams
) -> tuple[list[bytes], State]:
    """Return the frames of ``encode_cohort``, made block by block of clients, and the state."""
    frames: list[bytes] = []
    for block in _blocks(len(updates), layout) or [slice(0, 0)]:
        part = updates if block == slice(0, len(updates)) else updates.rows(block)
        rows, state = codec.encode(part, layout, state, streams)
        require(len(rows) == len(part), f"the codec encoded {len(rows)} of {len(part)} clients")
        envelopes = (Envelope(codec.codec_id, streams.round, i, spec) for i in part.client_ids.tolist())
        with named_faults("the codec's records make no frame"):
            frames += [write_frame(e, records) for e, records in zip(envelopes, rows, strict=True)]
    return frames, state


def _blocks(clients: int, layout: Layout) -> list[slice]:
    """Return rows of clients that are worked on together."""
    size = max(1, BLOCK // max(1, layout.num_parameters))
    return [slice(begin, min(begin + size, clients)) for begin in range(0, clients, size)]


class VerbatimFrames(Sequence[bytes]):
    """One frame a client of a codec that declares ``verbatim``: written when somebody looks at it.

    Such a codec keeps no state, its frames are all as long as the longest legal one, and decoding gives back
    what was encoded to the last bit; its contract holds all three. So a round needs no bytes to go on.
    """

    def __init__(
        self, codec: Codec, updates: Updates, layout: Layout, spec: int, streams: CodecStreams
    ) -> None:
        self._codec, self._layout, self._spec, self._streams = codec, layout, spec, streams
        self.updates, self.sizes = updates, longest_frames(codec, layout, updates)

    def __len__(self) -> int:
        return len(self.updates)

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self[r] for r in range(*row.indices(len(self)))]
        one = self.updates.rows(torch.tensor([range(len(self))[row]]))
        streams = replace(self._streams, round=int(one.started[0]))
        return encode_cohort(self._codec, one, self._layout, self._spec, None, streams)[0][0]


def decode_frame(
    codec: Codec, frame: bytes, envelope: Envelope, layout: Layout, context: CodecContext
) -> Tensor:
    """Return the update [P] that one frame stands for.

    Raises:
        FrameError: It is not a legal frame of this codec, round, client and spec.
    """
    shapes = codec.records(layout)
    records = read_frame(frame, envelope, shapes, longest_of(codec, shapes))
    return _decoded(codec, records, layout, context)


def support_of(codec: Codec, frame: bytes, envelope: Envelope, layout: Layout) -> Tensor:
    """Return which coordinates a legal frame names, bool; all of them where the codec does not say.  # [M]

    Raises:
        FrameError: It is not a legal frame of this codec, round, client and spec.
    """
    support = declared(codec, Codecs.support)
    if support is None:
        return torch.ones(layout.num_parameters, dtype=torch.bool)
    shapes = codec.records(layout)
    found: Tensor = support(read_frame(frame, envelope, shapes, longest_of(codec, shapes)), layout)
    fits = found.shape == (layout.num_parameters,) and found.dtype == torch.bool
    require(fits, f"support gave {found.dtype} {tuple(found.shape)}, expected bool [M]")
    return found


def mismatch_of(
    codec: Codec, frame: bytes, envelope: Envelope, layout: Layout, context: CodecContext
) -> Mismatch | None:
    """Return how badly updates fit a legal frame; None where the codec does not say, or loses nothing.

    Raises:
        FrameError: It is not a legal frame of this codec, round, client and spec.
    """
    mismatch = declared(codec, Codecs.mismatch)
    if mismatch is None or declared(codec, Codecs.lossless):
        return None
    shapes = codec.records(layout)
    return mismatch(read_frame(frame, envelope, shapes, longest_of(codec, shapes)), layout, context)


@dataclass(frozen=True)
class Decoded:
    """What the frames of a cohort say.

    Attributes:
        vectors: The updates of those that decode, in order, float32.  # [K', P]
        rejected: (row, reason) of each that does not, ascending.
        records: What was read of each frame that decodes, in the order of ``vectors``.
    """

    vectors: Tensor
    rejected: list[tuple[int, str]]
    records: list[list[Record]]


def decode_cohort(
    codec: Codec,
    frames: Sequence[bytes],
    client_ids: Sequence[int],
    layout: Layout,
    spec: int,
    streams: CodecStreams,
    presence: Presence | None = None,
) -> tuple[Tensor, list[tuple[int, str]]]:
    """Return the vectors of ``read_cohort``, and what it rejects."""
    found = read_cohort(codec, frames, client_ids, layout, spec, streams, presence)
    return found.vectors, found.rejected


def read_cohort(
    codec: Codec,
    frames: Sequence[bytes],
    client_ids: Sequence[int],
    layout: Layout,
    spec: int,
    streams: CodecStreams,
    presence: Presence | None = None,
) -> Decoded:
    """Return what frames say: the updates of those that decode, and why the others do not.

    ``client_ids`` are those the server expects, and ``presence`` what it assigned to them: a frame that names
    another sender, or holds another part of a message, is rejected. What is absent is 0.
    """
    if presence is None:
        return _read(codec, frames, client_ids, layout, spec, streams)
    vectors = torch.zeros(len(frames), layout.num_parameters)
    rejected: list[tuple[int, str]] = []
    records: dict[int, list[Record]] = {}
    for present, rows in by_level(presence):
        part, places = reduced(layout, present), rows.tolist()
        own = [frames[row] for row in places], [client_ids[row] for row in places]
        found = _read(codec, *own, part, frame_spec(spec, present), streams)
        bad = {places[n]: reason for n, reason in found.rejected}
        good = [row for row in places if row not in bad]
        rejected += bad.items()
        records |= zip(good, found.records, strict=True)
        vectors[torch.tensor(good, dtype=torch.int64)[:, None], present.nonzero().flatten()] = found.vectors
    kept = sorted(records)
    return Decoded(vectors[kept], sorted(rejected), [records[row] for row in kept])


def _read(
    codec: Codec,
    frames: Sequence[bytes],
    client_ids: Sequence[int],
    layout: Layout,
    spec: int,
    streams: CodecStreams,
) -> Decoded:
    shapes = codec.records(layout)
    longest = longest_of(codec, shapes)
    cohort: list[tuple[int, list[Record], CodecContext]] = []
    rejected = []
    for row, (frame, client) in enumerate(zip(frames, map(int, client_ids), strict=True)):
        envelope = Envelope(codec.codec_id, streams.round, client, spec)
        try:
            cohort.append((row, read_frame(frame, envelope, shapes, longest), streams.context(client)))
        except FrameError as error:
            rejected.append((row, str(error)))
    vectors, bad = vectors_of(codec, cohort, layout)
    worse = {row for row, _ in bad}
    records = [records for row, records, _ in cohort if row not in worse]
    return Decoded(vectors, sorted([*rejected, *bad]), records)


def vectors_of(
    codec: Codec, cohort: Sequence[tuple[int, list[Record], CodecContext]], layout: Layout
) -> tuple[Tensor, list[tuple[int, str]]]:
    """Return the vectors that the records of a cohort stand for [K', P], and why others stand for none."""
    vectors = torch.from_numpy(np.empty((len(cohort), layout.num_parameters), np.float32))  # in huge pages
    good, bad = 0, []
    for block in _blocks(len(cohort), layout):
        for row, found in _block_of(codec, cohort[block], layout):
            if isinstance(found, str):
                bad.append((row, found))
            else:
                vectors[good] = found
                good += 1
    return vectors[:good], bad


def _block_of(
    codec: Codec, cohort: Sequence[tuple[int, list[Record], CodecContext]], layout: Layout
) -> Iterator[tuple[int, Tensor | str]]:
    """Yield each row's vector [P], or why it has none."""
    together = declared(codec, Codecs.decode_cohort)
    if together is not None:
        try:
            found: Tensor = together([r for _, r, _ in cohort], layout, [c for _, _, c in cohort])
            yield from zip((row for row, _, _ in cohort), found, strict=True)
            return
        except FrameError:
            pass  # one by one, to see whose
    for row, records, context in cohort:
        try:
            yield row, _decoded(codec, records, layout, context)
        except FrameError as error:
            yield row, str(error)


def first_of_cohort(
    self: TogetherDecoded, records: Sequence[Record], layout: Layout, context: CodecContext
) -> Tensor:
    """Return what ``decode_cohort`` makes of one frame [P].

    Raises:
        FrameError: It is bad.
    """
    return self.decode_cohort([records], layout, [context])[0]


def _decoded(codec: Codec, records: Sequence[Record], layout: Layout, context: CodecContext) -> Tensor:
    vector = codec.decode(records, layout, context)
    fits = is_plain(vector) and vector.shape == (layout.num_parameters,) and vector.dtype == torch.float32
    require(fits, f"decode gave {kind_of(vector)}, expected float32 [{layout.num_parameters}]")
    return vector
