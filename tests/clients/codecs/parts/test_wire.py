"""A cohort over the wire, in the presence of senders who choose every byte."""

import struct
import zlib
from typing import ClassVar

import numpy as np
import pytest
import torch

from gauntlet.clients.codecs.error_feedback import ErrorFeedback
from gauntlet.clients.codecs.identity import Identity
from gauntlet.clients.codecs.parts.sizes import max_frame
from gauntlet.clients.codecs.parts.wire import (
    decode_cohort,
    decode_frame,
    encode_cohort,
)
from gauntlet.clients.codecs.randk import RandK
from gauntlet.clients.codecs.terngrad import TernGrad
from gauntlet.core import trees
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError, PluginError
from gauntlet.core.frames import OVERHEAD, Envelope, payload_bytes
from gauntlet.core.layout import Layout, Slot
from gauntlet.core.seeds import generator
from gauntlet.core.updates import Updates

LAYOUT = Layout((Slot("w", (4, 5), 0), Slot("b", (7,), 20)))
IDS = [2, 5, 11]
CODECS = [Identity(), TernGrad(), TernGrad(pack="two_bit"), TernGrad(pack="rice"), TernGrad(pack="auto")]


STREAMS = CodecStreams(seed=0, round=4)


def frames_of(codec):
    rows = generator(0, "rows").standard_normal((3, 27)).astype(np.float32)
    updates = Updates(torch.from_numpy(rows), torch.tensor(IDS), torch.ones(3, dtype=torch.int64))
    frames, _ = encode_cohort(codec, updates, LAYOUT, 77, codec.init(), STREAMS)
    return updates, frames


def resealed(frame):
    return bytes(frame[:-4]) + struct.pack("<I", zlib.crc32(frame[:-4]))


def test_the_identity_brings_a_cohort_over_to_the_last_bit():
    updates, frames = frames_of(Identity())
    vectors, rejected = decode_cohort(Identity(), frames, IDS, LAYOUT, 77, STREAMS)
    assert not rejected
    assert torch.equal(vectors, updates.vectors)


def test_a_frame_is_longest_exactly_under_the_identity():
    """20 of overhead, 4 a record header, 4 an element: 20 + 8 + 108, by hand."""
    _, frames = frames_of(Identity())
    assert max_frame(Identity(), LAYOUT) == len(frames[0]) == 136


@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_the_payload_is_the_frame_without_headers_and_checksum(codec):
    _, frames = frames_of(codec)
    assert [len(f) - OVERHEAD - 2 * 4 for f in frames] == [payload_bytes(f) for f in frames]


def test_the_payload_of_bytes_that_are_no_frame_is_refused():
    _, frames = frames_of(Identity())
    for frame in (frames[0][:-5], frames[0][:-4] + bytes(9)):
        with pytest.raises(FrameError):
            payload_bytes(frame)


def test_rejected_frames_leave_the_others_in_order():
    updates, frames = frames_of(Identity())
    vectors, rejected = decode_cohort(Identity(), [frames[0], b"junk", frames[2]], IDS, LAYOUT, 77, STREAMS)
    assert torch.equal(vectors, updates.vectors[[0, 2]])
    assert rejected == [(1, "frame: 4 bytes, allowed 20 to 136")]


def test_all_frames_may_be_rejected():
    vectors, rejected = decode_cohort(Identity(), [b"", b""], [1, 2], LAYOUT, 77, STREAMS)
    assert vectors.shape == (0, 27)
    assert [row for row, _ in rejected] == [0, 1]


def test_a_replayed_frame_is_rejected():
    """Of another client, of another round, of another spec."""
    _, frames = frames_of(Identity())
    assert len(decode_cohort(Identity(), frames, [5, 2, 11], LAYOUT, 77, STREAMS)[1]) == 2
    assert len(decode_cohort(Identity(), frames, IDS, LAYOUT, 77, CodecStreams(seed=0, round=5))[1]) == 3
    assert len(decode_cohort(Identity(), frames, IDS, LAYOUT, 78, STREAMS)[1]) == 3


@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_every_flipped_bit_gives_frame_error_or_a_vector(codec):
    """The checksum is made to fit: it authenticates nothing."""
    _, frames = frames_of(codec)
    for bit in range(8 * (len(frames[0]) - 4)):
        damaged = bytearray(frames[0])
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            envelope = Envelope(codec.codec_id, 4, 2, 77)
            vector = decode_frame(codec, resealed(damaged), envelope, LAYOUT, STREAMS.context(2))
        except FrameError:
            continue
        assert vector.shape == (27,)
        assert isinstance(codec, Identity) or vector.isfinite().all()


@pytest.mark.parametrize("codec", CODECS, ids=repr)
def test_ten_thousand_random_frames_raise_nothing_but_frame_error(codec):
    """Random bytes in the bodies, or anywhere after the header, under a right checksum."""
    _, frames = frames_of(codec)
    stream = generator(0, "random frames")
    envelope = Envelope(codec.codec_id, 4, 2, 77)
    accepted = 0
    for trial in range(10_000):
        frame = bytearray(frames[0])
        where = stream.integers(20 if trial % 2 else 16, len(frame) - 4, int(stream.integers(1, 9)))
        for at, value in zip(where, stream.bytes(len(where)), strict=True):
            frame[at] = value
        try:
            vector = decode_frame(codec, resealed(frame), envelope, LAYOUT, STREAMS.context(2))
        except FrameError:
            continue
        accepted += 1
        assert isinstance(codec, Identity) or vector.isfinite().all()
    assert 0 < accepted < 10_000  # some damage only changes values: that is what defenses are for


def test_a_codec_that_decodes_to_another_shape_is_named():
    class Short:
        codec_id = 0
        max_body = staticmethod(Identity().max_body)
        records = staticmethod(Identity().records)

        def decode(self, records, layout, context):
            return torch.zeros(1)

    _, frames = frames_of(Identity())
    with pytest.raises(PluginError, match=r"decode gave Tensor float32 \[1\]"):
        decode_cohort(Short(), frames, IDS, LAYOUT, 77, STREAMS)


def test_a_cohort_of_nobody_sends_nothing():
    nobody = Updates(torch.zeros(0, 27), torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    for codec in CODECS:
        frames, _ = encode_cohort(codec, nobody, LAYOUT, 77, codec.init(), STREAMS)
        vectors, rejected = decode_cohort(codec, frames, [], LAYOUT, 77, STREAMS)
        assert (frames, rejected, tuple(vectors.shape)) == ([], [], (0, 27))


class Counting(Identity):
    """An identity that notes how many clients each of its calls is about."""

    calls: ClassVar[list[int]] = []

    def encode(self, updates, layout, state, streams):
        self.calls.append(len(updates))
        return Identity().encode(updates, layout, state, streams)


def large(clients, numel):
    rows = torch.arange(clients * numel, dtype=torch.float32).reshape(clients, numel)
    updates = Updates(rows, torch.arange(clients), torch.ones(clients, dtype=torch.int64))
    return updates, Layout((Slot("w", (numel,), 0),))


@pytest.mark.parametrize(("numel", "calls"), [(2**18, [4, 1]), (2**19 + 1, [1] * 5), (3, [5])])
def test_a_large_cohort_is_encoded_some_clients_at_a_time(numel, calls):
    """At most 2^20 coordinates a call, which stay in the caches, and at least one client."""
    Counting.calls.clear()
    updates, layout = large(5, numel)
    frames, _ = encode_cohort(Counting(), updates, layout, 7, None, STREAMS)
    assert Counting.calls == calls
    vectors, rejected = decode_cohort(Identity(), frames, range(5), layout, 7, STREAMS)
    assert not rejected
    assert torch.equal(vectors, updates.vectors)


@pytest.mark.parametrize("codec", [TernGrad(), ErrorFeedback(), RandK()], ids=repr)
def test_blocks_give_the_frames_states_and_vectors_of_clients_alone(codec):
    """One bad frame among them is rejected, the others stay in order."""
    updates, layout = large(3, 2**19)
    frames, state = encode_cohort(codec, updates, layout, 7, codec.init(), STREAMS)
    alone, states = [], codec.init()
    for row in range(3):
        one = updates.rows(torch.tensor([row]))
        found, states = encode_cohort(codec, one, layout, 7, states, STREAMS)
        alone += found
    assert frames == alone
    assert trees.equal(state, states)
    expected = [decode_cohort(codec, [f], [row], layout, 7, STREAMS)[0] for row, f in enumerate(frames)]
    frames[1] = frames[1][:-1]
    vectors, rejected = decode_cohort(codec, frames, range(3), layout, 7, STREAMS)
    assert [row for row, _ in rejected] == [1]
    assert torch.equal(vectors, torch.cat([expected[0], expected[2]]))
