"""Oracles: calculations by hand, golden bytes, and the closed forms of normal and Laplace values."""

import codec_trips
import numpy as np
import pytest
from codec_trips import flat

from gauntlet.clients.codecs.sign import Sign
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record

STREAMS = CodecStreams(seed=0, round=7)


def sent(codec, rows):
    return codec_trips.sent(codec, rows, STREAMS)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("l1", [2.0, -2.0, 2.0, -2.0]),  # (1 + 4 + 0 + 3) / 4
        ("l2", [6.5**0.5, -(6.5**0.5), 6.5**0.5, -(6.5**0.5)]),  # sqrt((1 + 16 + 0 + 9) / 4)
        ("one", [1.0, -1.0, 1.0, -1.0]),
        ("two_means", [0.5, -3.5, 0.5, -3.5]),  # (1 + 0) / 2 and (4 + 3) / 2
    ],
)
def test_signs_are_times_their_scale_and_zero_counts_as_positive(scale, expected):
    decoded, _, _ = sent(Sign(scale), [[1.0, -4.0, 0.0, -3.0]])
    assert decoded[0].tolist() == pytest.approx(expected)


def test_the_bits_have_the_golden_bytes_behind_the_scale():
    """The format's specification: + - - + + + - + - - is 62 c0."""
    row = np.array([1, -1, -1, 1, 1, 1, -1, 1, -1, -1], dtype=np.float32)
    _, (frame,), _ = sent(Sign(), [row])
    assert frame[-10:-4].hex() == "0000803f" + "62c0"


@pytest.mark.parametrize(("law", "kept"), [("normal", 2 / np.pi), ("laplace", 0.5)])
def test_of_the_energy_the_square_of_the_mean_size_is_kept(law, kept):
    """(E|x|)^2 over E x^2 is 2 / pi of normal and 1 / 2 of Laplace values."""
    row = getattr(np.random.default_rng(0), law)(size=(1, 1_000_000)).astype(np.float32)
    decoded, _, _ = sent(Sign(), row)
    error = np.square(decoded.numpy() - row, dtype=np.float64).sum() / np.square(row, dtype=np.float64).sum()
    assert 1 - error == pytest.approx(kept, rel=5e-3)


@pytest.mark.parametrize("scale", ["l1", "l2", "one", "two_means"])
def test_zeros_come_back_as_zeros(scale):
    decoded, _, _ = sent(Sign(scale), np.zeros((2, 5)))
    assert decoded.tolist() == [[0.0] * 5] * 2


@pytest.mark.parametrize(
    ("scale", "body", "complaint"),
    [
        ("l1", "0000803f" + "80", "1 bytes, expected 2"),
        ("l1", "0000803f" + "8001", "padding bits are not zero"),
        ("l1", "000080bf" + "8000", "not finite and at least 0"),
        ("l1", "0000c07f" + "8000", "not finite and at least 0"),
        ("l1", "0000", "2 bytes, expected 4"),
        ("one", "00000040" + "8000", "scale 2.0 of plain signs, allowed 0 and 1"),
        ("two_means", "0000803f" + "8000", "expected"),
    ],
)
def test_bodies_that_no_encoder_makes_are_refused(scale, body, complaint):
    with pytest.raises(FrameError, match=complaint):
        Sign(scale).decode([Record(0, 0x02, 10, bytes.fromhex(body))], flat(10), STREAMS.context(0))


def test_ideal_bits_are_one_an_element_and_32_a_scale():
    record = Record(0, 0x02, 10, b"")
    assert Sign().ideal_bits([record], flat(10)) == 42
    assert Sign("two_means").ideal_bits([record], flat(10)) == 74
