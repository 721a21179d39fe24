"""A random rotation: signs, then Hadamard's matrix over the square root of its size.

Source: Ailon, Chazelle. The Fast Johnson-Lindenstrauss Transform and Approximate Nearest Neighbors. SIAM
Journal on Computing 2009 (without the sampling).
"""

from math import sqrt

import numpy as np

from .packing import Array


def hadamard(x: Array) -> Array:
    """Return x H / sqrt(d) along the last axis, of size d, a power of two: its own inverse.  # [..., d]"""
    size, out = x.shape[-1], x
    width = 1
    while width < size:
        pairs = out.reshape(*x.shape[:-1], size // (2 * width), 2, width)
        out = np.stack([pairs[..., 0, :] + pairs[..., 1, :], pairs[..., 0, :] - pairs[..., 1, :]], axis=-2)
        width *= 2
    rotated: Array = out.reshape(x.shape) * np.float32(1 / sqrt(size))
    return rotated


def random_signs(stream: np.random.Generator, numel: int) -> Array:
    """Return plus and minus one, float32 [numel]: the bits of the stream's raw words."""
    words = stream.bit_generator.random_raw(-(-numel // 64)).astype("<u8")
    bits = np.unpackbits(words.view(np.uint8))[:numel]
    return np.float32(1) - 2 * bits.astype(np.float32)
