"""Symbols of a small alphabet behind rANS: within a percent of their entropy, also far from powers of 1/2.

Several neighbouring symbols are coded as one, whose frequency is the product of theirs: so the table holds an
alphabet and no more, and a tensor takes fewer steps. Body: a u16 frequency a symbol, which add up to 2^12;
``u8 log2(lanes)``; a u32 state a lane; u16 words in the order in which a decoder takes them. Block i is in
lane i mod lanes. The last block is filled up with the most frequent symbol.

Source: Duda. Asymmetric Numeral Systems: Entropy Coding Combining Speed of Huffman Coding with Compression
Rate of Arithmetic Coding. 2013. arXiv:1311.2540; lanes: Giesen. Interleaved Entropy Coders. 2014.
arXiv:1402.3392. The tables' rounding and the blocks are ours.
"""

import numpy as np

from ....core.errors import FrameError
from .packing import Array

RANS = 0x06
"""Tag: an order-0 entropy code."""

_TABLE = 12  # log2 of what a table's frequencies add up to
_BLOCKS = 15  # and those of blocks of more than one symbol
_LARGEST_ALPHABET = 961  # of blocks: 31 squared
_LEAST = 1 << 16  # of a state
_STEPS = 1024  # a lane at least, so that its state is less than a percent of what it codes


def block_size(alphabet: int) -> int:
    """Return how many symbols are coded as one: as many as leave the blocks' alphabet at 961 or below."""
    size = 1
    while alphabet ** (size + 1) <= _LARGEST_ALPHABET and alphabet > 1:
        size += 1
    return size


def max_rans(numel: int, alphabet: int) -> int:
    """Return the longest body for ``numel`` symbols: a block gives at most one word."""
    blocks = -(-numel // block_size(alphabet))
    return (2 * alphabet + 1 + 4 * (1 << _log_lanes(blocks)) + 2 * blocks) if numel else 0


def pack_rans(codes: Array, alphabet: int, size: int | None = None) -> bytes:
    """Return the body of one row of codes below ``alphabet`` [n]; empty for none.

    Args:
        codes: Symbols, of an unsigned type.
        alphabet: How many there may be, at least 1.
        size: Symbols a block; None: ``block_size``.
    """
    if not len(codes):
        return b""
    size = block_size(alphabet) if size is None else size
    table = _frequencies(np.bincount(codes, minlength=alphabet).astype(np.float64), _TABLE)
    blocks = _in_blocks(codes, table, size)
    frequencies, starts, bits = _of_blocks(table, size)
    lanes = 1 << _log_lanes(len(blocks))
    states, words = _encode(frequencies[blocks], starts[blocks], lanes, bits)
    head = table.astype("<u2").tobytes() + bytes([_log_lanes(len(blocks))])
    return head + states.astype("<u4").tobytes() + words.astype("<u2").tobytes()


def unpack_rans(body: bytes, numel: int, alphabet: int, size: int | None = None) -> Array:
    """Return codes [numel] below ``alphabet``, of the smallest unsigned type.

    Raises:
        FrameError: Frequencies that do not add up, other lanes, a state out of range, words that are missing
            or left over, or a last block that is not filled up as it should be.
    """
    if not numel:
        _expect(not body, f"{len(body)} bytes for no elements")
        return np.zeros(0, dtype=np.uint8)
    size = block_size(alphabet) if size is None else size
    number = -(-numel // size)
    lanes = 1 << _log_lanes(number)
    at = 2 * alphabet + 1 + 4 * lanes
    _expect(len(body) >= at and len(body) % 2 == at % 2, f"{len(body)} bytes, expected {at} and words")
    table = np.frombuffer(body, dtype="<u2", count=alphabet).astype(np.uint32)
    total = int(table.sum())
    _expect(total == 1 << _TABLE, f"frequencies add up to {total}, expected {1 << _TABLE}")
    _expect(body[2 * alphabet] == _log_lanes(number), f"2^{body[2 * alphabet]} lanes, expected {lanes}")
    states = np.frombuffer(body, dtype="<u4", count=lanes, offset=2 * alphabet + 1).astype(np.uint32)
    _expect(bool((states >= _LEAST).all()), f"a state below {_LEAST}")
    frequencies, starts, bits = _of_blocks(table, size)
    slots = _decode(states, np.frombuffer(body, dtype="<u2", offset=at), number, frequencies, starts, bits)
    symbols = np.repeat(np.arange(len(frequencies)), frequencies)[slots]  # of blocks
    places = alphabet ** np.arange(size)
    codes: Array = (symbols[:, None] // places % alphabet).astype(np.min_scalar_type(alphabet)).reshape(-1)
    _expect(bool((codes[numel:] == table.argmax()).all()), "symbols after the last element")
    return codes[:numel]


def _log_lanes(blocks: int) -> int:
    return min(10, max(0, (blocks // _STEPS).bit_length() - 1))


def _frequencies(shares: Array, bits: int) -> Array:
    """Return whole numbers that add up to 2^bits, in proportion to ``shares``.

    At least 1 where a share is not 0. What rounding leaves goes to the largest; of equals, to the first.
    """
    present = shares > 0
    room = (1 << bits) - int(present.sum())
    whole = np.where(present, 1 + np.floor(shares * (room / shares.sum())), 0).astype(np.int64)
    whole[whole.argmax()] += (1 << bits) - whole.sum()
    return whole.astype(np.uint32)


def _of_blocks(table: Array, size: int) -> tuple[Array, Array, int]:
    """Return (frequencies of blocks, where each begins among 2^bits, bits)."""
    bits, frequencies = _TABLE, table
    if size > 1:
        shares = table / float(1 << _TABLE)
        product = shares
        for _ in range(size - 1):
            product = np.multiply.outer(shares, product).reshape(-1)
        bits, frequencies = _BLOCKS, _frequencies(product, _BLOCKS)
    return frequencies, (np.cumsum(frequencies) - frequencies).astype(np.uint32), bits


def _in_blocks(codes: Array, table: Array, size: int) -> Array:
    """Return blocks of codes as numbers, the first symbol in the lowest place."""
    padded = np.full(-(-len(codes) // size) * size, table.argmax(), dtype=np.int64)
    padded[: len(codes)] = codes
    blocks: Array = padded.reshape(-1, size) @ len(table) ** np.arange(size)
    return blocks


def _encode(frequencies: Array, starts: Array, lanes: int, bits: int) -> tuple[Array, Array]:
    """Return (the states [lanes], the words) of blocks with these frequencies and starts, uint32."""
    states = np.full(lanes, _LEAST, dtype=np.uint32)
    words = []
    for first in range((len(frequencies) - 1) // lanes * lanes, -1, -lanes):
        f, c = frequencies[first : first + lanes], starts[first : first + lanes]
        x = states[: len(f)]
        full = x >> (32 - bits) >= f
        words.append(x[full].astype(np.uint16))
        np.right_shift(x, 16, out=x, where=full)
        quotients = x // f
        x += quotients * ((1 << bits) - f) + c  # (x div f) 2^bits + x mod f + c
    return states, np.concatenate(words[::-1])


def _decode(states: Array, words: Array, number: int, frequencies: Array, starts: Array, bits: int) -> Array:
    """Return the slot of each block among 2^bits; ``states`` is written to.  # [number]"""
    of_slot = np.repeat(frequencies, frequencies)
    beyond = np.arange(1 << bits, dtype=np.uint32) - np.repeat(starts, frequencies)
    slots, lanes, at = np.empty(number, dtype=np.uint32), len(states), 0
    mask = np.uint32((1 << bits) - 1)
    for first in range(0, number, lanes):
        slot = slots[first : first + lanes]
        x = states[: len(slot)]
        np.bitwise_and(x, mask, out=slot)
        x >>= bits
        x *= of_slot[slot]
        x += beyond[slot]
        few = np.flatnonzero(x < _LEAST)
        taken = words[at : at + len(few)]
        _expect(len(taken) == len(few), "words are missing")
        x[few] = x[few] << 16 | taken
        at += len(few)
    _expect(at == len(words), f"{len(words) - at} words left over")
    _expect(bool((states == _LEAST).all()), "the states do not end where they began")
    return slots


def _expect(fact: bool, message: str) -> None:
    if not fact:
        raise FrameError(f"rans body: {message}")
