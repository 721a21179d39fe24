"""Several small levels in one byte, so that a Huffman code spends less than a bit too much on them together.

A Huffman code gives every symbol a whole number of bits: where one of three levels has a third or more of the
mass that costs up to 15 percent of their entropy. Of blocks of g levels the same part of a bit is lost once a
block. A byte holds five levels of sizes up to 1, three up to 2, or two up to 7, and one value more: that the
block holds a larger one, and stands behind the others with a byte a level.

Source: Shannon. A Mathematical Theory of Communication. Bell System Technical Journal 27, 1948, Section 9
(codes of blocks come near to the entropy). The byte for what does not fit is ours.
"""

from functools import lru_cache

import numpy as np

from ....core.errors import FrameError
from .huffman import inflated, pack_huffman, unpack_huffman, zlib_stream
from .packing import BYTES, Array

BLOCKS = 0x0A
"""Value code: ``u8 g``, then blocks of g adjacent levels -m .. m as digits 0 .. 2 m, the first with the least
weight, as base-3 bytes are, and behind them the levels of every block that is (2 m + 1)^g."""

_SIZES = {5: 1, 3: 2, 2: 7}  # g: m
_RARE = 4096  # levels, of which at most one may be above m
_LARGE = 16_384  # levels from which on a byte each is not tried beside blocks: it would not be shorter


def pack_levels(codes: Array, steps: int) -> bytes:
    """Return levels behind a Huffman code: in blocks, or a byte each where that is shorter.

    Args:
        codes: Levels + ``steps``, uint8.  # [n]
        steps: The largest size that a level may have, at least 1.
    """
    forms = []
    if (group := _group_of(codes, steps)) is not None:
        forms.append(bytes([BLOCKS, group]) + zlib_stream(_blocks(codes, steps, group)))
    if not forms or len(codes) < _LARGE:
        forms += pack_huffman(codes[None], BYTES)
    return min(forms, key=len)


def _group_of(codes: Array, steps: int) -> int | None:
    """Return how many levels make a block: as many as hold all but the rarest; None where not even two do."""
    sizes = np.bincount(codes, minlength=2 * steps + 1)
    sizes = sizes[steps:] + sizes[steps::-1]  # [steps + 1], of 0 twice
    fitting = (g for g, most in _SIZES.items() if _RARE * int(sizes[most + 1 :].sum()) <= len(codes))
    return next(fitting, None)


def _blocks(codes: Array, steps: int, group: int) -> bytes:
    """Return levels in blocks, and behind them those that stand apart."""
    most, base = _SIZES[group], 2 * _SIZES[group] + 1
    shift = np.uint8((steps - most) % 256)
    padded = np.full((-(-len(codes) // group), group), shift)
    padded.reshape(-1)[: len(codes)] = codes
    digits = padded - shift  # [blocks, g]; below 0 is large
    packed = digits[:, -1].copy()
    for place in range(group - 2, -1, -1):
        packed *= base
        packed += digits[:, place]
    large = np.unique(np.flatnonzero(digits >= base) // group)
    packed[large] = base**group
    return bytes(packed.tobytes() + padded[large].tobytes())


def unpack_levels(body: bytes, numel: int, steps: int) -> Array:
    """Return levels + ``steps``, uint8 [numel]; of those that no steps give some may be above ``2 steps``.

    Raises:
        FrameError: Anything else that ``pack_levels`` cannot make.
    """
    inner = body[0] if body else None
    if inner == BYTES:
        return np.frombuffer(unpack_huffman(body, BYTES, numel), np.uint8)
    if inner != BLOCKS:
        raise FrameError(f"zlib body: inner code {inner}, allowed {BYTES} and {BLOCKS}")
    group = body[1] if len(body) > 1 else 0
    if group not in _SIZES:
        raise FrameError(f"blocks body: {group} levels a block, allowed {', '.join(map(str, _SIZES))}")
    most, base, count = _SIZES[group], 2 * _SIZES[group] + 1, -(-numel // group)
    data = np.frombuffer(inflated(body[2:], count + group * (numel // _RARE)), np.uint8)
    large = np.flatnonzero(data[:count] == base**group)
    _expect(len(data) == count + group * len(large), f"{len(data)} bytes, {len(large)} blocks stand apart")
    _expect(not count or int(data[:count].max()) <= base**group, f"a byte above {base**group}")
    shift = np.uint8((steps - most) % 256)
    codes = _digits(group)[data[:count]] + shift  # [blocks, g]
    apart = data[count:].reshape(-1, group)
    _expect(bool((apart - shift >= base).any(axis=1).all()), "a block stands apart without need")
    codes[large] = apart
    found: Array = codes.reshape(-1)
    _expect(bool((found[numel:] == shift).all()), "digits after the last level")
    return found[:numel]


@lru_cache(maxsize=len(_SIZES))
def _digits(group: int) -> Array:
    """Return the digits of every block, uint8, and zeros of one that stands apart.  # [(2 m + 1)^g + 1, g]"""
    base = 2 * _SIZES[group] + 1
    digits: Array = np.arange(base**group + 1)[:, None] // base ** np.arange(group) % base
    return digits.astype(np.uint8)


def _expect(fact: bool, message: str) -> None:
    if not fact:
        raise FrameError(f"blocks body: {message}")
