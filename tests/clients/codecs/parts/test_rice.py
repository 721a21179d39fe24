"""Rice bodies against golden bytes, the expected length, and hostile senders."""

import time
import tracemalloc

import numpy as np
import pytest

from gauntlet.clients.codecs.parts.rice import best_parameter, max_rice, pack_rice, unpack_rice
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import uvarint

GOLDEN = bytes.fromhex("05021dc40a80")


def sparse(numel, **signs):
    codes = np.zeros(numel, dtype=np.int8)
    for place, sign in signs.items():
        codes[int(place[1:])] = sign
    return codes


CODES = sparse(32, i0=1, i3=-1, i4=1, i17=-1, i31=1)


def test_positions_and_signs_have_the_golden_bytes():
    """The sparse ternary body of the format's specification, without its scale."""
    assert pack_rice(CODES) == GOLDEN
    np.testing.assert_array_equal(unpack_rice(GOLDEN, 32), CODES)


def test_zeros_are_one_byte():
    assert pack_rice(np.zeros(1000, dtype=np.int8)) == b"\x00"
    assert not unpack_rice(b"\x00", 1000).any()
    assert pack_rice(np.zeros(0, dtype=np.int8)) == b"\x00"


@pytest.mark.parametrize("numel", [1, 2, 7, 8, 9, 64, 1000])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.9, 1.0])
def test_codes_come_back_whatever_their_density(numel, share):
    stream = np.random.default_rng(numel)
    codes = (stream.choice([-1, 1], numel) * (stream.random(numel) < share)).astype(np.int8)
    np.testing.assert_array_equal(unpack_rice(pack_rice(codes), numel), codes)


@pytest.mark.parametrize(("p", "b", "bits"), [(0.1, 3, 4.756), (0.01, 6, 8.107), (0.001, 9, 11.496)])
def test_a_position_costs_the_expected_bits_at_random_supports(p, b, bits):
    """Kiely's b* and b* + 1 / (1 - (1 - p)^(2^b*)), within 1 %; one bit more is the sign."""
    formula = b + 1 / (1 - (1 - p) ** (2**b))
    assert formula == pytest.approx(bits, abs=0.002)
    codes = (np.random.default_rng(1).random(2_000_000) < p).astype(np.int8)
    body = pack_rice(codes)
    k = int(codes.sum())
    assert body[len(uvarint(k))] == b
    assert 8 * len(body) / k - 1 == pytest.approx(formula, rel=0.01)


def test_the_parameter_is_the_cheapest_of_all():
    """Against every b from 0 to 31, on supports that are random."""
    stream = np.random.default_rng(2)
    for k in (1, 2, 5, 40, 300, 1000):
        indices = np.sort(stream.choice(1000, k, replace=False))
        gaps = np.diff(indices, prepend=-1) - 1
        cost = [int((gaps >> b).sum()) + k * b for b in range(32)]
        assert cost[best_parameter(gaps, 1000)] == min(cost)


def test_a_cluster_is_packed_without_remainders():
    """By hand: 100 neighbours are gaps of 1, so with b = 0 100 zeros and 100 signs: 25 bytes and k, b."""
    codes = np.zeros(4096, dtype=np.int8)
    codes[:100] = 1
    assert pack_rice(codes) == bytes([100, 0]) + bytes(25)


def test_no_support_makes_a_body_longer_than_declared():
    """All 3^8 rows of 8 codes, and the worst supports of longer rows: clusters, both ends, everything."""
    digits = np.arange(3**8)[:, None] // 3 ** np.arange(8) % 3 - 1
    assert max(len(pack_rice(row)) for row in digits.astype(np.int8)) <= max_rice(8)
    numel = 4096
    for k in (1, 2, 10, 100, 1000, 2000, 4096):
        for indices in (np.arange(k), np.arange(numel - k, numel), np.linspace(0, numel - 1, k).astype(int)):
            codes = np.zeros(numel, dtype=np.int8)
            codes[indices] = -1
            assert len(pack_rice(codes)) <= max_rice(numel)


def test_every_flipped_bit_gives_frame_error_or_other_codes():
    for bit in range(8 * len(GOLDEN)):
        damaged = bytearray(GOLDEN)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            codes = unpack_rice(bytes(damaged), 32)
        except FrameError:
            continue
        assert not np.array_equal(codes, CODES)


@pytest.mark.parametrize("length", range(len(GOLDEN)))
def test_a_body_cut_anywhere_is_refused(length):
    with pytest.raises(FrameError):
        unpack_rice(GOLDEN[:length], 32)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("0001", "bytes after k = 0"),
        ("21021dc40a80", "33 positions among 32"),
        ("05201dc40a80", "parameter 32"),
        ("05021dc40a81", "padding bits"),
        ("05021dc40a8000", "expected 26 and padding"),
        ("0500ffffffff", "unary plane"),
        ("0100ffffffff00", "position 32"),
        ("010580", "position 32"),  # b = 5: quotient 1, remainder 0, so gap 33: bits 10 00000 0
        ("051f" + "00" * 5, "expected 165 and padding"),
        ("8000", "shortest form"),
    ],
)
def test_bodies_that_no_encoder_makes_are_refused(body, complaint):
    with pytest.raises(FrameError, match=complaint):
        unpack_rice(bytes.fromhex(body), 32)


@pytest.mark.parametrize(
    "body",
    [
        uvarint(1 << 40) + b"\x05" + bytes(100),
        uvarint(10_000) + b"\x00" + b"\xff" * 1_000_000,
        uvarint(10_000) + b"\x00" + b"\xff" * 2400,
        uvarint(10_000) + b"\x1f" + bytes(2400),
        uvarint(1) + b"\x00" + b"\xff" * 2400,
    ],
    ids=["k", "long unary", "unary", "remainders", "one endless gap"],
)
def test_bombs_are_refused_at_once(body):
    """Under 50 ms and 16 MiB for 10 000 elements."""
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(FrameError):
        unpack_rice(body, 10_000)
    seconds = time.process_time() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 0.05
    assert peak < 16 * 2**20
