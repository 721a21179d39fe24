"""Frames against the format's golden bytes, and against senders who choose every byte."""

import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest

from gauntlet.core.errors import FrameError
from gauntlet.core.frames import (
    OVERHEAD,
    Envelope,
    Record,
    RecordShape,
    public_spec,
    read_frame,
    read_uvarint,
    uvarint,
    write_frame,
)
from gauntlet.core.layout import Layout, Slot

ENVELOPE = Envelope(codec_id=3, round=7, client_id=3, spec=0xBEEF)
BODY = bytes.fromhex("0000003f7102")
"""Scale 0.5 and the codes 1, 0, -1, 0, 0, 1, -1 in base 3."""


def framed(*records: Record, envelope: Envelope = ENVELOPE) -> bytes:
    return write_frame(envelope, records)


def sizes(*numels: int) -> list[RecordShape]:
    return [RecordShape(i, (numel,)) for i, numel in enumerate(numels)]


def resealed(frame: bytes | bytearray) -> bytes:
    """Return the frame with a checksum that fits."""
    return bytes(frame[:-4]) + struct.pack("<I", zlib.crc32(frame[:-4]))


@pytest.mark.parametrize(
    ("value", "golden"),
    [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (1_000_000, "c0843d")],
)
def test_numbers_have_the_golden_leb128_bytes(value, golden):
    assert uvarint(value).hex() == golden
    assert read_uvarint(bytes.fromhex(golden), 0) == (value, len(golden) // 2)


def test_numbers_go_up_to_2_to_the_63():
    top = (1 << 63) - 1
    assert read_uvarint(uvarint(top), 0) == (top, 9)
    with pytest.raises(FrameError, match="2\\^63"):
        read_uvarint(uvarint(1 << 63), 0)


@pytest.mark.parametrize("longer", ["8000", "ff00", "808000", "ac8200"])
def test_a_number_in_a_longer_form_than_needed_is_refused(longer):
    with pytest.raises(FrameError, match="shortest form"):
        read_uvarint(bytes.fromhex(longer), 0)


@pytest.mark.parametrize("cut", ["", "80", "ffffff", "ff" * 40])
def test_a_number_that_does_not_end_is_refused(cut):
    with pytest.raises(FrameError, match="cut off or above"):
        read_uvarint(bytes.fromhex(cut), 0)


@pytest.mark.parametrize(
    ("codec_id", "record", "golden"),
    [
        (
            8,
            Record(0, 0x31, 32, bytes.fromhex("05021dc408003c00c0003800b40042")),
            "474e010807000000030000000100efbe0031200f05021dc408003c00c0003800b40042b5c10427",
        ),
        (3, Record(1, 0x05, 7, BODY), "474e010307000000030000000100efbe010507060000003f7102e9c839a6"),
        (
            15,
            Record(0, 0x09, 3, bytes.fromhex("40c03a")),
            "474e010f07000000030000000100efbe0009030340c03ab5ba2250",
        ),
    ],
    ids=["top-k", "terngrad", "zeroth-order"],
)
def test_whole_frames_have_the_golden_bytes(codec_id, record, golden):
    """The three whole frames of the format's specification: round 7, client 3, spec 0xBEEF."""
    frame = framed(record, envelope=Envelope(codec_id, 7, 3, 0xBEEF))
    assert frame.hex() == golden
    assert len(frame) == OVERHEAD + 4 + len(record.body)  # header identity, all four numbers below 128


def test_a_frame_is_overhead_and_record_headers_and_bodies():
    """Header identity: 20 + (1 + 1 + 2 + 2) + (1 + 1 + 1 + 1) + bodies, from the LEB128 lengths."""
    records = [Record(0, 0, 300, bytes(1200)), Record(1, 5, 7, BODY)]
    frame = framed(*records)
    assert len(frame) == 20 + 6 + 4 + 1206
    assert read_frame(frame, ENVELOPE, sizes(300, 7), len(frame)) == records


def test_a_frame_without_tensors_is_the_overhead():
    assert len(framed()) == OVERHEAD
    assert read_frame(framed(), ENVELOPE, sizes(), OVERHEAD) == []


@pytest.mark.parametrize("length", range(30))
def test_a_frame_cut_anywhere_is_refused(length):
    frame = framed(Record(0, 5, 7, BODY))
    assert len(frame) == 30
    with pytest.raises(FrameError):
        read_frame(frame[:length], ENVELOPE, sizes(7), 30)
    if length >= OVERHEAD:  # and also when the checksum fits what is left
        with pytest.raises(FrameError):
            read_frame(resealed(frame[:length]), ENVELOPE, sizes(7), 30)


def test_every_flipped_bit_breaks_the_checksum():
    frame = framed(Record(0, 5, 7, BODY))
    for bit in range(8 * len(frame)):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FrameError):
            read_frame(bytes(damaged), ENVELOPE, sizes(7), 30)


@pytest.mark.parametrize(
    "expected",
    [Envelope(0, 7, 3, 0xBEEF), Envelope(3, 8, 3, 0xBEEF), Envelope(3, 7, 4, 0xBEEF), Envelope(3, 7, 3, 1)],
    ids=["codec", "round", "client", "spec"],
)
def test_a_frame_of_another_codec_round_client_or_spec_is_refused(expected):
    with pytest.raises(FrameError, match="says it is"):
        read_frame(framed(Record(0, 5, 7, BODY)), expected, sizes(7), 30)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_another_magic_or_version_is_refused(at):
    frame = bytearray(framed(Record(0, 5, 7, BODY)))
    frame[at] += 1
    with pytest.raises(FrameError, match="starts with"):
        read_frame(resealed(frame), ENVELOPE, sizes(7), 30)


def test_a_frame_above_the_longest_legal_one_is_refused():
    frame = framed(Record(0, 5, 7, BODY))
    with pytest.raises(FrameError, match="30 bytes, allowed 20 to 29"):
        read_frame(frame, ENVELOPE, sizes(7), 29)


A, B = Record(0, 5, 7, BODY), Record(1, 0, 2, bytes(8))


@pytest.mark.parametrize(
    "records",
    [[A], [B, A], [A, A], [A, B, B], [A, Record(2, 0, 2, bytes(8))], [A, Record(1, 0, 3, bytes(8))]],
    ids=["missing", "unordered", "repeated", "too many", "unknown", "other size"],
)
def test_records_other_than_the_layouts_are_refused(records):
    assert read_frame(framed(A, B), ENVELOPE, sizes(7, 2), 100) == [A, B]
    with pytest.raises(FrameError):
        read_frame(framed(*records), ENVELOPE, sizes(7, 2), 100)


@pytest.mark.parametrize("count", [0, 1, 3, 65535])
def test_a_header_that_miscounts_the_records_is_refused(count):
    frame = bytearray(framed(A, B))
    frame[12:14] = struct.pack("<H", count)
    with pytest.raises(FrameError, match=f"{count} records, expected 2"):
        read_frame(resealed(frame), ENVELOPE, sizes(7, 2), 100)


def test_bytes_left_over_are_refused():
    frame = framed(A)
    with pytest.raises(FrameError, match="1 bytes left over"):
        read_frame(resealed(frame[:-4] + b"\0" + frame[-4:]), ENVELOPE, sizes(7), 100)


@pytest.mark.parametrize(
    ("numbers", "complaint"),
    [
        ((0, 1 << 60, 6), "expected tensor 0 of 10000"),
        ((0, 10_000, 1 << 60), "is cut off"),
        ((1 << 62, 10_000, 6), "expected tensor 0 of 10000"),
        ((0, 10_000, 100_001), "is cut off"),
    ],
    ids=["numel", "length", "tensor", "just past the end"],
)
def test_numbers_in_a_frame_reserve_no_memory(numbers, complaint):
    """A claim of 2^60 elements or bytes is refused at once: under 50 ms and 16 MiB."""
    tensor, numel, length = numbers
    record = uvarint(tensor) + b"\x05" + uvarint(numel) + uvarint(length) + bytes(100_000)
    header = framed(Record(0, 5, 10_000, b""))[:16]
    frame = resealed(header + record + bytes(4))
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(FrameError, match=complaint):
        read_frame(frame, ENVELOPE, sizes(10_000), 200_000)
    seconds = time.process_time() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 0.05
    assert peak < 16 * 2**20


def test_random_records_under_a_right_checksum_raise_nothing_but_frame_error():
    stream = np.random.default_rng(0)
    header = framed(A, B)[:16]
    for _ in range(10_000):
        tail = bytearray(framed(A, B)[16:-4])
        for _ in range(int(stream.integers(1, 5))):
            tail[int(stream.integers(len(tail)))] = int(stream.integers(256))
        try:
            records = read_frame(resealed(header + tail + bytes(4)), ENVELOPE, sizes(7, 2), 100)
        except FrameError:
            continue
        assert [(r.tensor_id, r.numel) for r in records] == [(0, 7), (1, 2)]


@pytest.mark.parametrize(
    "envelope", [Envelope(256, 0, 0, 0), Envelope(0, 1 << 32, 0, 0), Envelope(0, 0, -1, 0)]
)
def test_an_envelope_that_the_header_cannot_hold_is_a_value_error(envelope):
    with pytest.raises(ValueError, match="round and client_id below 2\\^32"):
        write_frame(envelope, [])


def test_the_public_spec_is_the_crc_of_canonical_json():
    """Written out by hand: sorted keys, no spaces; the low 16 bits of CRC-32."""
    layout = Layout((Slot("w", (2, 3), 0), Slot("b", (2,), 6)))
    text = b'{"codec":"terngrad","options":{"clip":2.5},"tensors":[["w",[2,3]],["b",[2]]]}'
    spec = public_spec(layout, "terngrad", {"clip": 2.5})
    assert spec == zlib.crc32(text) & 0xFFFF
    others = [
        public_spec(layout, "identity", {"clip": 2.5}),
        public_spec(layout, "terngrad", {"clip": 2.0}),
        public_spec(Layout(layout.parameters[:1]), "terngrad", {"clip": 2.5}),
    ]
    assert spec not in others
