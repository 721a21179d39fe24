"""Golomb-Rice gaps: positions, alone or with a sign bit each, in one bit string.

A gap is the distance d >= 1 to the last position. Its quotient (d - 1) >> b stands in the unary plane
(so many ones, then a zero), its remainder in the plane of b-bit remainders, then come the sign bits, if any
(1 = negative): most significant bit first, padded with zeros once at the end.

Source: Rice, Plaunt. Adaptive Variable-Length Coding for Efficient Compression of Spacecraft Television
Data. IEEE Transactions on Communication Technology 19(6), 1971. Choice of b: Kiely. Selecting the Golomb
Parameter in Rice Coding. JPL IPN Progress Report 42-159, 2004.
"""

from math import floor, log, log2, sqrt

import numpy as np

from ....core.errors import FrameError
from ....core.frames import read_uvarint, uvarint
from .packing import Array

RICE_SIGNS = 0x32
"""Tag: positions as Rice gaps (3), values as sign bits (2)."""

MAX_PARAMETER = 31


def max_rice(numel: int) -> int:
    """Return the longest body that ``pack_rice`` makes for ``numel`` elements, in bytes.

    With b = 0, which is always tried, a body has at most n unary bits and n sign bits.
    """
    return len(uvarint(numel)) + 1 + -(-2 * numel // 8)


def max_positions(numel: int) -> int:
    """Return the longest body of ``pack_positions`` for ``numel`` elements, in bytes: b = 0 has n bits."""
    return len(uvarint(numel)) + 1 + -(-numel // 8)


def pack_rice(codes: Array) -> bytes:
    """Return ``uvarint k, u8 b, planes`` from one row of codes -1, 0, 1 [n]; only 00 for zeros."""
    indices = np.flatnonzero(codes)
    if not len(indices):
        return b"\x00"
    gaps = np.diff(indices, prepend=-1) - 1
    b = best_parameter(gaps, len(codes))
    return uvarint(len(indices)) + bytes([b]) + np.packbits(_bits(gaps, b, codes[indices] < 0)).tobytes()


def best_parameter(gaps: Array, numel: int) -> int:
    """Return the b that makes the fewest bits for gaps d - 1 [k], k at least 1; the smaller of equals."""
    share = len(gaps) / numel
    guess = 0
    if share < 1:
        guess = max(0, 1 + floor(log2(log((sqrt(5) - 1) / 2) / log(1 - share))))
    tried = sorted({0, max(0, guess - 1), guess, min(guess + 1, MAX_PARAMETER)})
    return min(tried, key=lambda b: (int((gaps >> b).sum()) + len(gaps) * b, b))


def _bits(gaps: Array, b: int, negative: Array) -> Array:
    ends = np.cumsum((gaps >> b) + 1) - 1  # where the unary zeros stand
    unary = np.ones(ends[-1] + 1, dtype=np.uint8)
    unary[ends] = 0
    remainders = gaps[:, None] >> np.arange(b - 1, -1, -1) & 1  # [k, b]
    return np.concatenate([unary, remainders.reshape(-1).astype(np.uint8), negative.astype(np.uint8)])


def pack_positions(indices: Array, numel: int) -> bytes:
    """Return ``uvarint k, u8 b, planes`` of ascending positions [k] alone; only 00 for none."""
    if not len(indices):
        return b"\x00"
    gaps = np.diff(indices, prepend=-1) - 1
    b = best_parameter(gaps, numel)
    planes = np.packbits(_bits(gaps, b, np.zeros(0))).tobytes()
    return uvarint(len(indices)) + bytes([b]) + planes


def unpack_positions(body: bytes, numel: int) -> tuple[Array, int]:
    """Return (ascending positions [k], the bytes that they take at the body's beginning).

    Raises:
        FrameError: Anything but what ``pack_positions`` can make with some b.
    """
    k, b, at = _head(body, numel)
    if k == 0:
        return np.zeros(0, dtype=np.int64), at
    longest = -(-(k + (numel >> b) + k * b) // 8)
    bits = np.unpackbits(np.frombuffer(body, dtype=np.uint8, offset=at)[:longest])
    indices, used = _positions(bits, k, b, numel)
    end = -(-used // 8) * 8
    _expect(not bits[used:end].any(), "padding bits are not zero")
    return indices, at + end // 8


def unpack_rice(body: bytes, numel: int) -> Array:
    """Return codes int8 [numel]. Memory and time are linear in ``numel`` and the body's length.

    Raises:
        FrameError: Anything but what ``pack_rice`` can make with some b.
    """
    codes = np.zeros(numel, dtype=np.int8)
    k, b, at = _head(body, numel)
    if k == 0:
        _expect(len(body) == at, "bytes after k = 0")
        return codes
    _expect(len(body) <= max_rice(numel), f"{len(body)} bytes, allowed {at + 1} to {max_rice(numel)}")
    bits = np.unpackbits(np.frombuffer(body, dtype=np.uint8, offset=at))
    indices, positions = _positions(bits, k, b, numel, k)
    used = positions + k
    _expect(len(bits) == -(-used // 8) * 8, f"{len(bits)} bits, expected {used} and padding")
    _expect(not bits[used:].any(), "padding bits are not zero")
    codes[indices] = 1 - 2 * bits[positions:used].astype(np.int8)
    return codes


def _head(body: bytes, numel: int) -> tuple[int, int, int]:
    """Return (k, b, where the planes begin); b is 0 where k is."""
    k, at = read_uvarint(body, 0)
    if k == 0:
        return 0, 0, at
    _expect(k <= numel, f"{k} positions among {numel} elements")
    _expect(at < len(body), f"{len(body)} bytes, allowed {at + 1} to {max_rice(numel)}")
    _expect(body[at] <= MAX_PARAMETER, f"parameter {body[at]}, allowed 0 to {MAX_PARAMETER}")
    return k, body[at], at + 1


def _positions(bits: Array, k: int, b: int, numel: int, more: int = 0) -> tuple[Array, int]:
    """Return (ascending positions [k], the bits that both planes take), where ``more`` bits follow."""
    ends = np.flatnonzero(bits[: k + (numel >> b)] == 0)[:k]
    _expect(len(ends) == k, "the unary plane is cut off or too long")
    unary = int(ends[-1]) + 1
    used = unary + k * b
    _expect(used + more <= len(bits), f"{len(bits)} bits, expected {used + more} and padding")
    remainders = bits[unary:used].reshape(k, b) @ (1 << np.arange(b - 1, -1, -1))
    quotients = np.diff(ends, prepend=-1) - 1
    indices = np.cumsum((quotients << b) + remainders + 1) - 1
    _expect(indices[-1] < numel, f"position {indices[-1]} among {numel} elements")
    return indices, used


def _expect(fact: bool, message: str) -> None:
    if not fact:
        raise FrameError(f"rice body: {message}")
