"""Buckets: neighbouring coordinates of a tensor that share a scale."""

import numpy as np

from ....core.errors import FrameError
from ....core.frames import Record
from .packing import Array

LONGEST = 2**16
"""To how many coordinates a bucket is padded that holds a whole tensor, at most."""


def refuse_size(size: int | None) -> None:
    """Raise ``ValueError`` unless a bucket has at least 1 coordinate, or is a tensor (None)."""
    if size is not None and size < 1:
        raise ValueError(f"bucket_size must be at least 1, or None for a tensor; got {size}")


def count(numel: int, size: int | None) -> int:
    """Return the number of buckets of a tensor: at least 1, also of an empty one."""
    return 1 if size is None else max(1, -(-numel // size))


def width_of(numel: int, size: int | None) -> int:
    """Return how many coordinates a bucket of a tensor is padded to, however large ``size`` is."""
    return numel if size is None else min(size, max(numel, LONGEST))


def in_buckets(block: Array, size: int | None) -> Array:
    """Return a block [K, n] as buckets, the last one padded with zeros.  # [K, buckets, width]"""
    rows, numel = block.shape
    number, width = count(numel, size), width_of(numel, size)
    if number * width == numel:
        return block.reshape(rows, number, width)
    padded = np.zeros((rows, number * width), dtype=block.dtype)
    padded[:, :numel] = block
    return padded.reshape(rows, number, width)


def largest_sizes(block: Array, size: int | None) -> Array:
    """Return the largest size of each bucket, float32.  # [K, buckets]"""
    sizes: Array = np.abs(in_buckets(block, size)).max(axis=2, initial=np.float32(0))
    return sizes


def lengths(block: Array, size: int | None) -> Array:
    """Return the L2 norm of each bucket, summed in float64, float32; infinite beyond it.  # [K, buckets]"""
    wide = in_buckets(block, size).astype(np.float64)
    with np.errstate(over="ignore"):
        norms: Array = np.sqrt(np.square(wide, out=wide).sum(axis=2)).astype(np.float32)
    return norms


def spread(scales: Array, numel: int, size: int | None) -> Array:
    """Return the scale of each coordinate, of scales [K, buckets].  # [K, numel], or [K, 1] of tensors"""
    return scales if size is None else np.repeat(scales, min(size, max(numel, 1)), axis=1)[:, :numel]


def with_bits(bits: int, packed: Array) -> Array:
    """Return rows of codes [K, n] behind a byte that says how many bits one takes."""
    return np.concatenate([np.full((len(packed), 1), bits, dtype=np.uint8), packed], axis=1)


def after_bits(record: Record, scales: int, bits: int) -> bytes:
    """Return what stands in a body behind ``scales`` scales and the byte that must say ``bits``.

    Raises:
        FrameError: It says something else, or is not there.
    """
    at = 4 * scales
    if record.body[at : at + 1] != bytes([bits]):
        came = record.body[at : at + 1].hex() or "missing"
        raise FrameError(f"tensor {record.tensor_id}: bits {came}, allowed {bits:02x}")
    return record.body[at + 1 :]
