"""Symbols of one byte behind a Huffman code: zlib's, without its search for repetitions.

Source: Huffman. A Method for the Construction of Minimum-Redundancy Codes. Proceedings of the IRE 40(9),
1952; in the container of RFC 1950 and 1951 (zlib, strategy Z_HUFFMAN_ONLY). Streams may differ between builds
of zlib by a few bytes, what they decode to never.
"""

import zlib

from ....core.errors import FrameError
from .packing import Array

ZLIB = 0x07
"""Tag: ``u8 inner value code``, then a zlib stream of the inner body."""


def max_huffman(length: int) -> int:
    """Return the longest body for an inner body of ``length`` bytes: 5 bytes more every 4 KiB."""
    return 1 + length + 5 * (length // 4096 + 1) + 6


def pack_huffman(packed: Array, inner: int) -> list[bytes]:
    """Return one body a client from rows of bytes [K, n] that are packed as value code ``inner``."""
    return [bytes([inner]) + zlib_stream(row.tobytes()) for row in packed]


def zlib_stream(data: bytes) -> bytes:
    """Return bytes behind a Huffman code, without any search for repetitions."""
    maker = zlib.compressobj(level=1, memLevel=9, strategy=zlib.Z_HUFFMAN_ONLY)
    return maker.compress(data) + maker.flush()


def unpack_huffman(body: bytes, inner: int, length: int) -> bytes:
    """Return the inner body, of ``length`` bytes; never more than one byte beyond it is made.

    Raises:
        FrameError: Another inner code or length, or no whole zlib stream.
    """
    if body[:1] != bytes([inner]):
        raise FrameError(f"zlib body: inner code {body[:1].hex() or 'missing'}, allowed {inner:02x}")
    data = inflated(body[1:], length)
    if len(data) != length:
        raise FrameError(f"zlib body: no whole stream of {length} bytes, but of {len(data)}")
    return data


def inflated(stream: bytes, most: int) -> bytes:
    """Return what a zlib stream holds, at most ``most`` bytes; never more than one byte beyond it is made.

    Raises:
        FrameError: More bytes, or no whole zlib stream.
    """
    reader = zlib.decompressobj()
    try:
        data = reader.decompress(stream, most + 1)
    except zlib.error as error:
        raise FrameError(f"zlib body: {error}") from error
    if len(data) > most or not reader.eof or reader.unused_data:
        raise FrameError(f"zlib body: no whole stream of {most} bytes")
    return data
