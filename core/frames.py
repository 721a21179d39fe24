"""The bytes that one client puts on the wire.

A frame is a header, records (as a rule one a tensor) and a checksum, all integers little-endian:

    magic "GN" | version u8 | codec u8 | round u32 | client u32 | records u16 | spec u16
    then each record: uvarint tensor id | tag u8 | uvarint numel | uvarint length | body
    then CRC-32 of everything before

Decoding uses only the frame and the public spec (the layout and the codec's options), never the
sender's memory. The checksum finds accidents; it authenticates nothing. Every byte is hostile until
checked: whatever is wrong raises ``FrameError`` and nothing else.
"""

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
from torch import Tensor

from .errors import FrameError
from .layout import Layout

VERSION = 1
OVERHEAD = 20  # header and checksum, in bytes
_HEADER = struct.Struct("<2sBBIIHH")


@dataclass(frozen=True)
class Record:
    """One tensor inside a frame, or what a codec sends in its place.

    Attributes:
        tensor_id: Whose record it is: as a rule the tensor's place in the layout, from 0.
        tag: Position code << 4 | value code: how the body is packed.
        numel: The number of elements that the body stands for.
        body: Scales, positions and values as the codec packs them.
    """

    tensor_id: int
    tag: int
    numel: int
    body: bytes


@dataclass(frozen=True)
class RecordShape:
    """A record that a frame must hold, known to both sides before it is read.

    Attributes:
        tensor_id: The record's id, at least 0.
        shape: The shape of what the record stands for: a tensor's own, or that of what is sent in its place
            (a sketch, coefficients, the whole vector at once).
    """

    tensor_id: int
    shape: tuple[int, ...]

    @cached_property
    def numel(self) -> int:
        """Elements that the record stands for."""
        return prod(self.shape)


def one_a_tensor(layout: Layout) -> tuple[RecordShape, ...]:
    """Return the records of a codec that sends one for each tensor of the layout."""
    return tuple(RecordShape(i, slot.shape) for i, slot in enumerate(layout.parameters))


@dataclass(frozen=True)
class Envelope:
    """What both sides know before a frame is read: a frame that says otherwise is refused.

    Attributes:
        codec_id: The codec's number, 0 to 255.
        round: The round, from 0.
        client_id: The sender, below 2^32 - 1.
        spec: The low 16 bits of the public spec's checksum (``public_spec``).
    """

    codec_id: int
    round: int
    client_id: int
    spec: int


def public_spec(layout: Layout, codec: str, options: Mapping[str, object]) -> int:
    """Return 16 bits that change with the layout, the codec's name and its options."""
    tensors = [[slot.name, list(slot.shape)] for slot in layout.parameters]
    spec = {"codec": codec, "options": dict(options), "tensors": tensors}
    return zlib.crc32(json.dumps(spec, sort_keys=True, separators=(",", ":")).encode()) & 0xFFFF


def part_spec(spec: int, present: Tensor) -> int:
    """Return 16 bits that change with the spec of whole messages and with what is ``present`` of one [M]."""
    return zlib.crc32(np.packbits(present.numpy()).tobytes(), spec) & 0xFFFF


def uvarint(value: int) -> bytes:
    """Return LEB128, least significant group first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_uvarint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """Return (value, next offset). Only the shortest form below 2^63 is legal."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 62:
            raise FrameError("frame: a number is cut off or above 2^63")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    if byte == 0 and shift:
        raise FrameError("frame: a number is not in its shortest form")
    return value, at


def write_frame(envelope: Envelope, records: Sequence[Record]) -> bytes:
    """Return the frame of one client and round. Records stand in ascending tensor id.

    Raises:
        ValueError: A number that the header has no room for.
    """
    e = envelope
    try:
        head = _HEADER.pack(b"GN", VERSION, e.codec_id, e.round, e.client_id, len(records), e.spec)
    except struct.error as error:
        raise ValueError(
            f"frame: {e} with {len(records)} records; allowed: codec_id below 2^8, round and client_id "
            "below 2^32, spec and records below 2^16"
        ) from error
    parts = [head]
    for r in records:
        parts += [uvarint(r.tensor_id), bytes([r.tag]), uvarint(r.numel), uvarint(len(r.body)), r.body]
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    return b"".join([*parts, struct.pack("<I", checksum)])


def read_frame(
    frame: bytes, envelope: Envelope, shapes: Sequence[RecordShape], max_length: int
) -> list[Record]:
    """Return a frame's records after every check that needs no codec.

    Args:
        frame: What came.
        envelope: What must have come: a frame of another codec, round, client or spec is refused.
        shapes: The records that it must hold, in this order.
        max_length: The longest legal frame, in bytes.

    Raises:
        FrameError: Anything at all is wrong.
    """
    if not OVERHEAD <= len(frame) <= max_length:
        raise FrameError(f"frame: {len(frame)} bytes, allowed {OVERHEAD} to {max_length}")
    magic, version, codec_id, round_, client_id, count, spec = _HEADER.unpack_from(frame)
    if magic != b"GN" or version != VERSION:
        raise FrameError(f"frame: starts with {frame[:3].hex()}, expected 474e{VERSION:02x}")
    if Envelope(codec_id, round_, client_id, spec) != envelope:
        came = Envelope(codec_id, round_, client_id, spec)
        raise FrameError(f"frame: says it is {came}, expected {envelope}")
    content = memoryview(frame)[:-4]
    if struct.unpack_from("<I", frame, len(frame) - 4)[0] != zlib.crc32(content):
        raise FrameError("frame: the checksum does not fit the bytes")
    if count != len(shapes):
        raise FrameError(f"frame: {count} records, expected {len(shapes)}")
    return read_records(content, shapes, _HEADER.size)


def records_of(frame: bytes) -> bytes:
    """Return the part of a legal frame that holds its records."""
    return frame[_HEADER.size : -4]


def read_records(data: bytes | memoryview, shapes: Sequence[RecordShape], at: int = 0) -> list[Record]:
    """Return the records that stand from a place on to the end.

    Raises:
        FrameError: Others than these, or more, or one that is cut off.
    """
    records = []
    for expected in shapes:
        tensor_id, at = read_uvarint(data, at)
        if at >= len(data):
            raise FrameError(f"frame: record {expected.tensor_id} is cut off")
        tag, at = data[at], at + 1
        numel, at = read_uvarint(data, at)
        length, at = read_uvarint(data, at)
        if tensor_id != expected.tensor_id or numel != expected.numel:
            raise FrameError(
                f"frame: tensor {tensor_id} of {numel} elements, "
                f"expected tensor {expected.tensor_id} of {expected.numel}"
            )
        if length > len(data) - at:
            raise FrameError(f"frame: the body of tensor {tensor_id} is cut off")
        records.append(Record(tensor_id, tag, numel, bytes(data[at : at + length])))
        at += length
    if at != len(data):
        raise FrameError(f"frame: {len(data) - at} bytes left over")
    return records


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
