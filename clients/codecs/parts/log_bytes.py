"""Numbers as one byte each: a sign, and a logarithm in steps of an eighth.

0x00 is 0. Else bit 7 is the sign, and the others are 64 + clip(round(8 ln|p|), -63, 63), from 1 to 127: sizes
from e^(-63/8) = 3.8e-4 to e^(63/8) = 2630, at most e^(1/16) - 1 = 6.5 % off. 0x80 is illegal.
"""

import numpy as np

from ....core.errors import FrameError
from .packing import Array

ILLEGAL = 0x80
"""The byte of -0, which no number has."""
LEAST = 0.5 * np.exp(-63 / 8)
"""What is smaller than this becomes 0."""
SIZES = np.exp((np.arange(128) - 64) / 8)
SIZES[0] = 0.0


def to_log_bytes(values: Array) -> Array:
    """Return the byte of each finite number, uint8; of two that are as near, that of the even logarithm."""
    sizes = np.abs(values)
    powers = np.rint(8 * np.log(np.maximum(sizes, LEAST))).clip(-63, 63) + 64
    found: Array = np.where(sizes < LEAST, 0, powers + 128 * (values < 0)).astype(np.uint8)
    return found


def from_log_bytes(codes: Array) -> Array:
    """Return the number of each byte, float64.

    Raises:
        FrameError: A byte 0x80.
    """
    if (codes == ILLEGAL).any():
        raise FrameError("a byte 0x80, which stands for no number")
    found: Array = np.where(codes & 0x80, -1.0, 1.0) * SIZES[codes & 0x7F]
    return found
