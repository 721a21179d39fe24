"""Frames that somebody writes who knows the format: cut off, flipped, or claiming to be far larger."""

import tracemalloc
import zlib
from dataclasses import replace
from time import thread_time

import numpy as np
import torch
from codec_draws import SPEC

from gauntlet.clients.codecs.parts.sizes import max_frame
from gauntlet.clients.codecs.parts.wire import decode_frame
from gauntlet.core.declarations import Codecs, declared
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import OVERHEAD, Envelope, uvarint, write_frame

SECONDS, BYTES = 0.05, 16 * 2**20


def sealed(content):
    """Return a frame whose checksum fits."""
    return content + zlib.crc32(content).to_bytes(4, "little")


def hostile(frame, records, envelope, longest, rng):
    """Return a frame that was damaged in one of seven ways; some of these are legal all the same."""
    body = frame[:-4]
    kind = int(rng.integers(7))
    if kind == 0:  # cut off
        return sealed(body[: int(rng.integers(OVERHEAD - 4, len(body)))])
    if kind == 1:  # a bit
        at, flipped = int(rng.integers(OVERHEAD - 4, len(body))), bytearray(body)
        flipped[at] ^= 1 << int(rng.integers(8))
        return sealed(bytes(flipped))
    number = int(rng.integers(len(records)))
    one = records[number]
    if kind == 2:  # a body of other bytes, or of another length
        new = replace(
            one, body=rng.bytes(len(one.body)) if rng.random() < 0.5 else one.body[: -int(rng.integers(1, 5))]
        )
    elif kind == 3:  # a body of another length, all ones or zeros: unary bombs, and counts of 2^63
        fill = (b"\xff", b"\x00", uvarint(2**40), uvarint(2**62))[int(rng.integers(4))]
        new = replace(one, body=(one.body[: int(rng.integers(9))] + fill * longest)[: max(longest, 1)])
    elif kind == 4:  # floats that are huge, not finite or negative, wherever scales or values stand
        floats = np.array([3e38, np.finfo("<f4").max, np.inf, np.nan, -1, 1e-45], dtype="<f4")
        at = 4 * int(rng.integers(max(1, len(one.body) // 4)))
        at += len(one.body) % 4 * int(rng.integers(2))  # counted from either end
        value = rng.choice(floats).tobytes()
        new = replace(one, body=(one.body[:at] + value + one.body[at + 4 :])[: len(one.body)])
    elif kind == 5:  # another packing
        new = replace(one, tag=int(rng.integers(256)))
    else:  # more elements than there are
        new = replace(one, numel=int(rng.choice([0, one.numel + 1, 2**40, 2**60])))
    return write_frame(envelope, [*records[:number], new, *records[number + 1 :]])


def hostile_frames_of(round_, count, rng):
    """Yield (frame, envelope) of damaged frames of one round's clients."""
    longest = max_frame(round_.codec, round_.layout)
    for _ in range(count):
        k = int(rng.integers(len(round_.frames)))
        envelope = Envelope(
            round_.codec.codec_id, round_.streams.round, int(round_.updates.client_ids[k]), SPEC
        )
        yield hostile(round_.frames[k], round_.records[k], envelope, longest, rng), envelope


def refuse_or_read(round_, frame, envelope):
    """Decode a frame, and say whether it was legal: it is refused or finite, in 50 ms and 16 MiB."""
    context = round_.streams.context(envelope.client_id)
    tracemalloc.start()
    try:
        legal, seconds = _tried(round_, frame, envelope, context)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    if seconds > SECONDS:  # once more, without what traces, in case something else was at work
        seconds = min(_tried(round_, frame, envelope, context)[1] for _ in range(2))
    assert seconds <= SECONDS, f"{seconds:.3f} s"
    assert most <= BYTES, f"{most / 2**20:.1f} MiB"
    return legal


def _tried(round_, frame, envelope, context):
    before = thread_time()
    try:
        vector = decode_frame(round_.codec, frame, envelope, round_.layout, context)
    except FrameError:
        return False, thread_time() - before
    seconds = thread_time() - before
    assert vector.shape == (round_.layout.num_parameters,)
    assert vector.dtype == torch.float32
    assert declared(round_.codec, Codecs.lossless) or bool(vector.isfinite().all())
    return True, seconds
