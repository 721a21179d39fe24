"""Levels in blocks behind a Huffman code: bytes by hand, the code's length by Huffman's own procedure."""

import heapq
import zlib

import numpy as np
import pytest

from gauntlet.clients.codecs.parts.blocks import pack_levels, unpack_levels
from gauntlet.clients.codecs.parts.packing import entropy
from gauntlet.core.errors import FrameError


def codes_of(levels, steps):
    return (np.asarray(levels) + steps).astype(np.uint8)


@pytest.mark.parametrize(
    ("levels", "group", "blocks"),
    [
        ([1, 0, -1, 0, 0, 1, -1], 5, "7102"),  # the golden bytes of base 3: 2 + 3 + 0 + 27 + 81; 2 + 0
        ([2, 0, -1, -2, 1], 3, "270f"),  # 4 + 2 x 5 + 1 x 25 = 39; 0 + 3 x 5 = 15
        ([-7, 7, 3], 2, "d20a"),  # 0 + 14 x 15 = 210; 10
    ],
)
def test_blocks_have_the_bytes_that_a_hand_gives_them(levels, group, blocks):
    whole = codes_of((levels * 9000)[: 9000 * group], 15)
    body = pack_levels(whole, 15)
    assert body[:2] == bytes([0x0A, group])
    assert zlib.decompress(body[2:])[:1].hex() == blocks[:2]
    assert unpack_levels(body, len(whole), 15).tolist() == whole.tolist()
    alone = bytes([0x0A, group]) + zlib.compress(bytes.fromhex(blocks))
    assert (unpack_levels(alone, len(levels), 15).astype(int) - 15).tolist() == levels


def test_a_block_with_a_level_that_does_not_fit_stands_apart():
    """Ones, and 9 among them: 2 (1 + 3 + 9 + 27 + 81) = 242, but 243 once, and 16 16 24 16 16 behind."""
    levels = np.ones(40_000, np.int64)
    levels[7] = 9
    body = pack_levels(codes_of(levels, 15), 15)
    inside = zlib.decompress(body[2:])
    assert body[:2] == b"\x0a\x05"
    assert inside[:3].hex() == "f2f3f2"
    assert inside[8000:].hex() == "1010181010"
    assert (unpack_levels(body, 40_000, 15).astype(int) - 15).tolist() == levels.tolist()


def test_blocks_are_as_long_as_all_but_the_rarest_levels_allow():
    """One level in 4096 may stand apart, and not two; where more are 8 and above, none is in blocks."""
    levels = np.ones(40_960, np.int64)
    for size, groups in ((2, "05050503"), (3, "05050502"), (8, "050505--")):
        for number, group in ((0, groups[:2]), (1, groups[2:4]), (10, groups[4:6]), (11, groups[6:])):
            levels[:] = 1
            levels[:number] = -size
            body = pack_levels(codes_of(levels, 15), 15)
            assert body[:2].hex() == "0a" + group if group != "--" else body[0] == 0x09


@pytest.mark.parametrize("numel", [0, 1, 2, 5, 7, 300, 20_483])
@pytest.mark.parametrize("most", [0, 1, 2, 4, 7, 8, 15])
@pytest.mark.parametrize("steps", [1, 4, 15, 127])
def test_levels_come_back_whatever_their_number_and_size(numel, most, steps):
    levels = np.random.default_rng(numel).integers(-min(most, steps), min(most, steps) + 1, numel)
    if numel > 4096:
        levels[[0, numel // 2, numel - 1]] = -steps, steps, steps  # three, in 5 x 4096
    codes = codes_of(levels, steps)
    assert unpack_levels(pack_levels(codes, steps), numel, steps).tolist() == codes.tolist()


def huffman_bits(symbols):
    """Return how many bits Huffman's procedure spends on symbols: the sums of the two least, added up."""
    counts, bits = [int(c) for c in np.bincount(symbols) if c], 0
    heapq.heapify(counts)
    while len(counts) > 1:
        both = heapq.heappop(counts) + heapq.heappop(counts)
        bits += both
        heapq.heappush(counts, both)
    return bits


def test_pairs_lose_a_fraction_of_what_single_levels_do():
    """0 with 0.44, 1 and -1 with 0.275 each: the best code of single levels takes 1, 2 and 3 bits.

    That is 1.87 bits with the rare ones, of an entropy of 1.65, by Huffman's own procedure.
    """
    draws = np.random.default_rng(0)
    levels = draws.choice([-3, -1, 0, 1, 3], 200_000, p=[0.005, 0.275, 0.44, 0.275, 0.005])
    codes = codes_of(levels, 15)
    least, single = entropy(levels.astype(np.int8)), huffman_bits(codes)
    assert single / least > 1.12
    assert 0.999 < 8 * len(pack_levels(codes, 15)) / least < 1.03


def test_few_levels_take_a_byte_each_where_that_is_shorter():
    """Of 300 levels the table of 225 symbols is longer than what blocks save."""
    draws = np.random.default_rng(0)
    few = codes_of(np.rint(draws.normal(0, 2.5, 300)).clip(-7, 7), 15)
    many = codes_of(np.rint(draws.normal(0, 2.5, 30_000)).clip(-7, 7), 15)
    assert pack_levels(few, 15)[0] == 0x09
    assert pack_levels(many, 15)[0] == 0x0A


def stream(*values):
    return zlib.compress(bytes(values))


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "inner code None, allowed 9 and 10"),
        (b"\x05" + stream(0), "inner code 5, allowed 9 and 10"),
        (b"\x0a", "0 levels a block, allowed 5, 3, 2"),
        (b"\x0a\x04" + stream(0), "4 levels a block, allowed 5, 3, 2"),
        (b"\x0a\x05", "no whole stream of 2 bytes"),
        (b"\x0a\x05" + stream(0), "1 bytes, 0 blocks stand apart"),
        (b"\x0a\x05" + stream(0, 0, 0), "no whole stream of 2 bytes"),
        (b"\x0a\x05" + stream(243, 0), "2 bytes, 1 blocks stand apart"),
        (b"\x0a\x05" + stream(244, 0), "a byte above 243"),
        (b"\x0a\x05" + stream(0, 9), "digits after the last level"),
        (b"\x0a\x05" + zlib.compress(bytes(50_000_000)), "no whole stream of 2 bytes"),
    ],
)
def test_bodies_that_no_encoder_makes_are_refused(body, complaint):
    with pytest.raises(FrameError, match=complaint):
        unpack_levels(body, 7, 15)


def test_a_block_that_stands_apart_without_need_and_more_than_may_are_refused():
    """Of 4096 levels in fives one block may stand apart: its levels are 14 to 16 in 15 steps, or not all."""
    blocks = bytes([243]) + bytes(819)
    with pytest.raises(FrameError, match="a block stands apart without need"):
        unpack_levels(b"\x0a\x05" + zlib.compress(blocks + bytes([14, 15, 16, 15, 15])), 4096, 15)
    assert unpack_levels(b"\x0a\x05" + zlib.compress(blocks + bytes([13, 15, 16, 15, 15])), 4096, 15)[0] == 13
    with pytest.raises(FrameError, match="no whole stream of 825 bytes"):
        unpack_levels(b"\x0a\x05" + zlib.compress(bytes([243, 243]) + bytes(818 + 10)), 4096, 15)
