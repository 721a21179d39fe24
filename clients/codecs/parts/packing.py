"""Floats and ternary codes as bytes, many rows at once, and back from bytes that may be hostile.

Packings are unique: given the tag, one byte string stands for one row of codes. Whatever else comes
raises ``FrameError``.

Source: Wen et al. TernGrad. NeurIPS 2017, Section 3.1 (two bits an element). arXiv:1705.07878. Five
ternary digits in a byte: 3^5 = 243 <= 256.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....core.errors import FrameError
from ....core.frames import Record
from ....core.layout import Layout, Slot
from ....core.updates import Updates

DENSE_F32 = 0x00
"""Tag: every element as a little-endian float32."""
TWO_BIT = 0x04
"""Tag: -1, 0, 1 as 0, 1, 2, four adjacent elements a byte, the first in the low bits."""
SIGNS = 0x02
"""Tag: one bit an element, 1 = negative."""
FIXED = 0x03
"""Tag: ``u8 b``, then b bits an element."""
BYTES = 0x09
"""Tag: one byte an element."""
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


def from_tensors(records: Sequence[Record], layout: Layout, values: Callable[[Record, int], Array]) -> Tensor:
    """Return a vector [P] whose tensors are ``values(record, numel)``, float32 [numel] each."""
    vector = np.empty(layout.num_parameters, dtype=np.float32)
    for slot, record in zip(layout.parameters, records, strict=True):
        vector[slot.start : slot.start + slot.size] = values(record, slot.size)
    return torch.from_numpy(vector)


def as_bytes(packed: Array) -> list[bytes]:
    """Return rows of bytes [K, n] one by one."""
    return [row.tobytes() for row in packed]


def pack_floats(block: Array) -> Array:
    """Return rows of bytes [K, 4 n] from rows of float32 [K, n]."""
    floats = np.ascontiguousarray(block, dtype="<f4")
    return floats.view(np.uint8).reshape(len(block), 4 * block.shape[1])


def unpack_floats(body: bytes, numel: int) -> Array:
    """Return float32 [numel], finite or not, as a view of ``body``.

    Raises:
        FrameError: The body has another length.
    """
    expect_length(body, 4 * numel)
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
    packed = _base3_bytes(bodies, numel)  # [K, bytes]
    if not packed.size:
        return np.zeros((len(bodies), numel), dtype=np.int8)
    return _BASE3_DIGITS[packed].reshape(len(bodies), -1)[:, :numel]


def _base3_bytes(bodies: Sequence[bytes], numel: int) -> Array:
    """Return the bytes of bodies that stand for ``numel`` codes each, uint8.  # [K, ceil(n / 5)]"""
    packed = _bytes_of(bodies, -(-numel // 5))
    left = numel - 5 * (packed.shape[1] - 1)
    if packed.size and (packed.max() > 242 or packed[:, -1].max() >= 3**left):
        raise FrameError(f"base-3 body: a byte above 242, or the last one at or above 3^{left}")
    return packed


def base3_entropy(body: bytes, numel: int) -> float:
    """Return ``entropy(unpack_base3(body, numel))``, of bytes that are counted in place of codes.

    Raises:
        FrameError: As of ``unpack_base3``.
    """
    packed = _base3_bytes([body], numel)[0]
    minus, none, plus = (np.bincount(packed, minlength=243) @ _BASE3_COUNTS).tolist()
    padding = 5 * len(packed) - numel  # digits 0 behind the last element, as -1 is written
    return _entropy_of(np.array([none, plus, minus - padding]))


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


def pack_fixed(codes: Array, bits: int) -> Array:
    """Return rows of bytes [K, ceil(n bits / 8)] from rows of codes below 2^bits, uint8 [K, n].

    Each code is ``bits`` of one bit string, most significant bit first, padded with zeros.
    """
    rows, numel = codes.shape
    if bits == 8:
        return np.ascontiguousarray(codes)
    if 8 % bits == 0:
        return _packed_evenly(codes, bits)
    planes = codes[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.uint8) & 1  # [K, n, bits]
    return np.packbits(planes.reshape(rows, numel * bits), axis=1)


def _packed_evenly(codes: Array, bits: int) -> Array:
    """Return ``pack_fixed`` where whole codes fill a byte."""
    rows, numel = codes.shape
    group = 8 // bits
    groups = -(-numel // group)
    whole = np.zeros((rows, groups * group), dtype=np.uint8)
    whole[:, :numel] = codes
    parts = whole.reshape(rows, groups, group)
    packed = parts[..., 0].copy()
    for place in range(1, group):
        packed <<= bits
        packed |= parts[..., place]
    return packed


def unpack_fixed(body: bytes, numel: int, bits: int) -> Array:
    """Return codes uint8 [numel].

    Raises:
        FrameError: A wrong length, or padding that is not zero.
    """
    expect_length(body, -(-numel * bits // 8))
    packed = np.frombuffer(body, dtype=np.uint8)
    if 8 % bits == 0:
        codes = packed[:, None] >> np.arange(8 - bits, -1, -bits, dtype=np.uint8)
        codes &= (1 << bits) - 1
        return _unpadded(codes.reshape(-1), numel)
    string = _unpadded(np.unpackbits(packed), numel * bits)
    padded = np.zeros((numel, 8), dtype=np.uint8)
    padded[:, 8 - bits :] = string.reshape(numel, bits)
    return np.packbits(padded, axis=1).reshape(numel)


def _unpadded(codes: Array, length: int) -> Array:
    """Return the first ``length`` of some codes, or raise ``FrameError`` where another one is not 0."""
    if codes[length:].any():
        raise FrameError("fixed body: padding bits are not zero")
    return codes[:length]


def scales_of(record: Record, count: int) -> Array:
    """Return the ``count`` scales at the beginning of a body, float32, finite and at least 0.

    Raises:
        FrameError: One is not, or the body is cut off.
    """
    scales = unpack_floats(record.body[: 4 * count], count)
    if not np.isfinite(scales).all() or np.signbit(scales).any():
        raise FrameError(f"tensor {record.tensor_id}: a scale is not finite and at least 0")
    return scales


def expect_tag(record: Record, *allowed: int) -> None:
    """Raise ``FrameError`` unless a record has one of these tags."""
    if record.tag not in allowed:
        names = ", ".join(f"{tag:#04x}" for tag in allowed)
        raise FrameError(f"tensor {record.tensor_id}: tag {record.tag:#04x}, allowed {names}")


def finite_rows(block: Array) -> tuple[Array, Array]:
    """Return (which rows are finite [K], the block with zeros in place of the others [K, n])."""
    finite = np.asarray(np.isfinite(block).all(axis=1))
    return finite, block if finite.all() else np.where(finite[:, None], block, np.float32(0))


def with_scales(scales: Array, finite: Array, bodies: Iterable[bytes]) -> list[bytes]:
    """Return one body a client: its scales, then its own bytes.

    Args:
        scales: float32 [K, S].
        finite: Which clients' tensors are finite; the others' scales become NaN, which no decoder accepts.
            # [K]
        bodies: What follows, one a client.
    """
    heads = pack_floats(np.where(finite[:, None], scales, np.float32(np.nan)))
    return [head.tobytes() + body for head, body in zip(heads, bodies, strict=True)]


def pack_halves(values: Array) -> Array:
    """Return float16 of float32 values, rounded to the nearest and cut off at +-65504; NaN stays NaN."""
    return np.clip(values, -LARGEST_HALF, LARGEST_HALF).astype("<f2")


def unpack_values(body: bytes, numel: int, dtype: str) -> Array:
    """Return finite float32 [numel] from little-endian floats of ``dtype``.

    Raises:
        FrameError: The body has another length, or a value is not finite.
    """
    expect_length(body, numel * np.dtype(dtype).itemsize)
    values = np.frombuffer(body, dtype=dtype).astype(np.float32)
    if not np.isfinite(values).all():
        raise FrameError("body: a value is not finite")
    return values


def entropy(codes: Array) -> float:
    """Return the empirical entropy of whole codes [n], in bits for all of them: n H0."""
    if codes.dtype.itemsize == 1:
        return _entropy_of(np.bincount(codes.view(np.uint8)))
    return _entropy_of(np.unique(codes, return_counts=True)[1])


def _entropy_of(counts: Array) -> float:
    """Return n H0 in bits of what is there ``counts`` times.  # [symbols]"""
    counts = counts[counts > 0]
    return float(-(counts * np.log2(counts / max(int(counts.sum()), 1))).sum()) + 0.0


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
        expect_length(body, length)
    return np.frombuffer(b"".join(bodies), dtype=np.uint8).reshape(len(bodies), length)


def expect_length(body: bytes, length: int) -> None:
    """Raise ``FrameError`` unless a body has this length."""
    if len(body) != length:
        raise FrameError(f"body: {len(body)} bytes, expected {length}")


_BASE3_DIGITS = (np.arange(243)[:, None] // 3 ** np.arange(5) % 3 - 1).astype(np.int8)  # [243, 5]
_BASE3_COUNTS = (_BASE3_DIGITS[..., None] == np.arange(-1, 2)).sum(axis=1)  # of -1, 0, 1  # [243, 3]
