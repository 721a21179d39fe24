"""rANS against golden bytes, the entropy, and bodies that no encoder makes."""

import numpy as np
import pytest

from gauntlet.clients.codecs.parts.packing import entropy
from gauntlet.clients.codecs.parts.rans import block_size, max_rans, pack_rans, unpack_rans
from gauntlet.core.errors import FrameError

GOLDEN = bytes.fromhex("0004000a0002" + "00" + "00904205")
CODES = np.array([0, 1, 1, 1, 2, 1, 1, 0], dtype=np.uint8)


def skewed(alphabet, numel, seed=0):
    """Return codes, the first of an alphabet more frequent than the last."""
    shares = 0.6 ** np.arange(alphabet)
    return np.random.default_rng(seed).choice(alphabet, numel, p=shares / shares.sum()).astype(np.uint8)


def test_codes_have_the_golden_bytes():
    """The format's specification: frequencies 1024, 2560, 512 and no words, a symbol a block."""
    assert pack_rans(CODES, 3, size=1) == GOLDEN
    np.testing.assert_array_equal(unpack_rans(GOLDEN, 8, 3, size=1), CODES)


def test_a_state_by_hand_for_two_symbols():
    """Frequencies 2048 each: of symbols 0 1, encoded from the last, 65536 -> 133120 -> 266240 by hand.

    x = (x div f) 2^12 + x mod f + c: (65536 div 2048) 4096 + 0 + 2048, then (133120 div 2048) 4096 + 0 + 0.
    """
    body = pack_rans(np.array([0, 1], dtype=np.uint8), 2, size=1)
    assert body.hex() == "00080008" + "00" + (266240).to_bytes(4, "little").hex()


@pytest.mark.parametrize(("alphabet", "size"), [(1, 1), (2, 9), (3, 6), (5, 4), (31, 2), (32, 1), (255, 1)])
def test_blocks_stay_within_their_alphabet(alphabet, size):
    assert block_size(alphabet) == size
    assert alphabet**size <= 961


@pytest.mark.parametrize("alphabet", [1, 2, 3, 5, 15, 31, 33, 255])
@pytest.mark.parametrize("numel", [0, 1, 2, 7, 1000, 5001])
def test_codes_come_back_for_every_length(alphabet, numel):
    for codes in (skewed(alphabet, numel), np.full(numel, alphabet - 1, dtype=np.uint8)):
        body = pack_rans(codes, alphabet)
        assert len(body) <= max_rans(numel, alphabet)
        np.testing.assert_array_equal(unpack_rans(body, numel, alphabet), codes)


@pytest.mark.parametrize("alphabet", [3, 7, 31, 255])
def test_a_million_symbols_take_at_most_two_percent_more_than_their_entropy(alphabet):
    """And not less: a code without context is bounded by the entropy (Shannon)."""
    codes = skewed(alphabet, 1_000_000)
    body = pack_rans(codes, alphabet)
    assert 1.0 <= 8 * len(body) / entropy(codes) <= 1.02
    np.testing.assert_array_equal(unpack_rans(body, len(codes), alphabet), codes)


def test_a_body_that_ends_anywhere_else_is_refused():
    codes = skewed(5, 400)
    body = pack_rans(codes, 5)
    for end in range(len(body)):
        with pytest.raises(FrameError, match="rans body"):
            unpack_rans(body[:end], 400, 5)
    for more in (b"\x00", b"\x00\x00"):
        with pytest.raises(FrameError, match="rans body"):
            unpack_rans(body + more, 400, 5)


def test_a_flipped_bit_is_refused_or_gives_codes_of_the_alphabet():
    codes = skewed(5, 200)
    body = bytearray(pack_rans(codes, 5))
    refused = 0
    for place in range(8 * len(body)):
        body[place // 8] ^= 1 << place % 8
        try:
            assert unpack_rans(bytes(body), 200, 5).max() < 5
        except FrameError:
            refused += 1
        body[place // 8] ^= 1 << place % 8
    assert refused > 4 * len(body)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("0004000a0003" + "00" + "00904205", "frequencies add up to 4352, expected 4096"),
        ("0004000a0002" + "1e" + "00904205", r"2\^30 lanes, expected 1"),
        ("0004000a0002" + "00" + "ffff0000", "a state below 65536"),
        ("0004000a0002" + "00" + "00904206", "words are missing|do not end where they began"),
        ("0004000a0002" + "00" + "00904205" + "0100", "1 words left over"),
        ("0004000a", "4 bytes, expected 11 and words"),
        ("", "0 bytes, expected 11 and words"),
    ],
)
def test_bodies_that_no_encoder_makes_are_refused(body, complaint):
    with pytest.raises(FrameError, match=complaint):
        unpack_rans(bytes.fromhex(body), 8, 3, size=1)


def test_a_last_block_that_is_filled_up_otherwise_is_refused():
    """Of three symbols in blocks of six: the other three must be the most frequent one."""
    body = pack_rans(np.array([1, 1, 1, 1, 1, 0], dtype=np.uint8), 3)
    with pytest.raises(FrameError, match="symbols after the last element"):
        unpack_rans(body, 5, 3)


def test_bytes_for_no_elements_are_refused():
    with pytest.raises(FrameError, match="1 bytes for no elements"):
        unpack_rans(b"\x00", 0, 3)


def test_random_bodies_are_refused_or_give_codes():
    draws = np.random.default_rng(1)
    for _ in range(300):
        body = draws.bytes(int(draws.integers(0, max_rans(500, 3) + 20)))
        if draws.random() < 0.5:
            body = GOLDEN[:6] + b"\x00" + body
        try:
            assert unpack_rans(body, 500, 3).max() < 3
        except FrameError:
            continue
