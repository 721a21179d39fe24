"""Floats and ternary codes as bytes, many rows at once, and back from bytes that may be hostile.

Packings are unique: given the tag, one byte string stands for one row of codes. Whatever else comes
raises ``FrameError``.

Source: Wen et al. TernGrad. NeurIPS 2017, Section 3.1 (two bits an element). arXiv:1705.07878. Five
ternary digits in a byte: 3^5 = 243 <= 256.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ....core.errors import FrameError
from ....core.frames import Record
from ....core.layout import Layout, Slot
from ....core.updates import Updates

DENSE_F32 = 0x00
"""Tag: every element as a little-endian float32."""
TWO_BIT = 0x04
"""Tag: -1, 0, 1 as 0, 1, 2, four adjacent elements a byte, the first in the low bits."""
BASE3 = 0x05
"""Tag: the same digits, five adjacent elements a byte, weights 1, 3, 9, 27, 81."""

LARGEST_HALF = 65504.0
"""The largest finite float16."""

Array = np.ndarray[Any, Any]


def by_tensor(
    updates: Updates, layout: Layout, records: Callable[[int, Slot, Array], list[Record]]
) -> list[list[Record]]:
    """Return each client's records, made of one tensor of all clients at a time.

    Args:
        updates: The clients' messages.  # [K, M]
        layout: Where each tensor lies in them.
        records: From a tensor's number, its slot and its columns [K, n], float32, to a record a client.
    """
    vectors = updates.vectors.detach().cpu().numpy()
    columns = [
        records(i, slot, vectors[:, slot.start : slot.start + slot.size])
        for i, slot in enumerate(layout.parameters)
    ]
    return [[column[k] for column in columns] for k in range(len(vectors))]


def pack_floats(block: Array) -> Array:
    """Return rows of bytes [K, 4 n] from rows of float32 [K, n]."""
    floats = np.ascontiguousarray(block, dtype="<f4")
    return floats.view(np.uint8).reshape(len(block), 4 * block.shape[1])


def unpack_floats(body: bytes, numel: int) -> Array:
    """Return float32 [numel], finite or not, as a view of ``body``.

    Raises:
        FrameError: The body has another length.
    """
    _expect_length(body, 4 * numel)
    return np.frombuffer(body, dtype="<f4")


def pack_base3(codes: Array) -> Array:
    """Return rows of bytes [K, ceil(n / 5)] from rows of codes -1, 0, 1, int8 [K, n]."""
    digits = _digits(codes, 5)  # [K, bytes, 5]
    packed = digits[..., 4].copy()
    for place in (3, 2, 1, 0):
        packed *= 3
        packed += digits[..., place]
    return packed


def unpack_base3(body: bytes, numel: int) -> Array:
    """Return codes int8 [numel].

    Raises:
        FrameError: A wrong length, a byte above 242, or digits after the last element.
    """
    codes: Array = unpack_base3_rows([body], numel)[0]
    return codes


def unpack_base3_rows(bodies: Sequence[bytes], numel: int) -> Array:
    """Return ``unpack_base3`` of several bodies.  # [K, n]"""
    packed = _bytes_of(bodies, -(-numel // 5))  # [K, bytes]
    if not packed.size:
        return np.zeros((len(bodies), numel), dtype=np.int8)
    left = numel - 5 * (packed.shape[1] - 1)
    if packed.max() > 242 or packed[:, -1].max() >= 3**left:
        raise FrameError(f"base-3 body: a byte above 242, or the last one at or above 3^{left}")
    return _BASE3_DIGITS[packed].reshape(len(bodies), -1)[:, :numel]


def pack_two_bit(codes: Array) -> Array:
    """Return rows of bytes [K, ceil(n / 4)] from rows of codes -1, 0, 1, int8 [K, n]."""
    digits = _digits(codes, 4)  # [K, bytes, 4]
    packed: Array = digits[..., 0] | digits[..., 1] << 2 | digits[..., 2] << 4 | digits[..., 3] << 6
    return packed


def unpack_two_bit(body: bytes, numel: int) -> Array:
    """Return codes int8 [numel].

    Raises:
        FrameError: A wrong length, a digit 3, or digits after the last element.
    """
    codes: Array = unpack_two_bit_rows([body], numel)[0]
    return codes


def unpack_two_bit_rows(bodies: Sequence[bytes], numel: int) -> Array:
    """Return ``unpack_two_bit`` of several bodies.  # [K, n]"""
    packed = _bytes_of(bodies, -(-numel // 4))  # [K, bytes]
    places = np.array([0, 2, 4, 6], dtype=np.uint8)
    digits = (packed[..., None] >> places & 3).reshape(len(bodies), 4 * packed.shape[1])
    if bool((digits == 3).any()) or bool(digits[:, numel:].any()):
        raise FrameError("two-bit body: a digit 3, or digits after the last element")
    return digits[:, :numel].view(np.int8) - np.int8(1)


def pack_halves(values: Array) -> Array:
    """Return float16 of float32 values, rounded to the nearest and cut off at +-65504; NaN stays NaN."""
    return np.clip(values, -LARGEST_HALF, LARGEST_HALF).astype("<f2")


def unpack_values(body: bytes, numel: int, dtype: str) -> Array:
    """Return finite float32 [numel] from little-endian floats of ``dtype``.

    Raises:
        FrameError: The body has another length, or a value is not finite.
    """
    _expect_length(body, numel * np.dtype(dtype).itemsize)
    values = np.frombuffer(body, dtype=dtype).astype(np.float32)
    if not np.isfinite(values).all():
        raise FrameError("body: a value is not finite")
    return values


def largest(block: Array, k: int) -> Array:
    """Return the ascending places of each row's k largest sizes; of equals, the first.  # [K, k]"""
    rows, numel = block.shape
    sizes = np.abs(block)
    if not k or not rows:
        return np.zeros((rows, k), dtype=np.int64)
    least = np.partition(sizes, numel - k, axis=1)[:, numel - k, None]  # the k-th largest  # [K, 1]
    above, equal = sizes > least, sizes == least
    equal &= equal.cumsum(axis=1) <= k - above.sum(axis=1, keepdims=True)
    return np.nonzero(above | equal)[1].reshape(rows, k)


def entropy(codes: Array) -> float:
    """Return the empirical entropy of whole codes [n], in bits for all of them: n H0."""
    counts = np.unique(codes, return_counts=True)[1]
    return float(-(counts * np.log2(counts / max(len(codes), 1))).sum()) + 0.0


def _digits(codes: Array, group: int) -> Array:
    """Return codes + 1 in groups, padded with digits 0.  # [K, ceil(n / group), group]"""
    rows, numel = codes.shape
    groups = -(-numel // group)
    digits = np.zeros((rows, groups * group), dtype=np.uint8)
    np.add(codes, 1, out=digits[:, :numel].view(np.int8))
    return digits.reshape(rows, groups, group)


def _bytes_of(bodies: Sequence[bytes], length: int) -> Array:
    """Return bodies that must all have one length as rows, uint8.  # [K, length]"""
    for body in bodies:
        _expect_length(body, length)
    return np.frombuffer(b"".join(bodies), dtype=np.uint8).reshape(len(bodies), length)


def _expect_length(body: bytes, length: int) -> None:
    if len(body) != length:
        raise FrameError(f"body: {len(body)} bytes, expected {length}")


_BASE3_DIGITS = (np.arange(243)[:, None] // 3 ** np.arange(5) % 3 - 1).astype(np.int8)  # [243, 5]
