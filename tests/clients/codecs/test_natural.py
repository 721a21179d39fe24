"""Oracles: the byte's definition, the two neighbouring powers, and the worst case of the error."""

import codec_trips
import numpy as np
import pytest
from codec_trips import flat

from gauntlet.clients.codecs.natural import Natural
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record

STREAMS = CodecStreams(seed=0, round=7)


def sent(rows):
    return codec_trips.sent(Natural(), rows, STREAMS)


def test_powers_of_two_stay_and_their_bytes_say_sign_and_exponent():
    """Bit 7 the sign, the others e + 109: 1 is 109 = 6d, -2 is 128 + 110 = ee, 2^-108 is 01, 2^18 is 7f."""
    row = [1.0, -2.0, 2.0**-108, 2.0**18, 0.0]
    decoded, (frame,), _ = sent([row])
    assert decoded[0].tolist() == row
    assert frame[-9:-4].hex() == "6dee017f00"


def test_what_is_too_small_becomes_0_and_what_is_too_large_the_largest():
    decoded, _, _ = sent([[2.0**-112, -(2.0**-112), 2.0**30, -(2.0**30)]])
    assert decoded[0].tolist() == [0, 0, 2.0**18, -(2.0**18)]


def test_a_value_goes_up_as_often_as_it_is_far_from_the_lower_power():
    """1.25 lies a quarter of the way from 1 to 2; of 40 000 draws within 5 standard errors."""
    decoded, _, _ = sent(np.full((1, 40_000), -1.25))
    values, counts = np.unique(decoded.numpy(), return_counts=True)
    assert values.tolist() == [-2.0, -1.0]
    assert counts[0] == pytest.approx(10_000, abs=5 * (40_000 * 3 / 16) ** 0.5)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (np.full(100_000, 4 / 3), 1 / 8),  # the worst case: (1/3 of the way, E = 1/3 * 2/3) / (16/9)
        (np.random.default_rng(0).standard_normal(1_000_000), 0.0817),
        (np.random.default_rng(0).laplace(size=1_000_000), 0.0820),
    ],
    ids=["4/3", "normal", "laplace"],
)
def test_the_error_is_that_of_the_specification(row, expected):
    decoded, _, _ = sent([row])
    error = np.square(decoded[0].double().numpy() - row).sum() / np.square(row).sum()
    assert error == pytest.approx(expected, rel=0.01)


def test_minus_zero_is_refused():
    with pytest.raises(FrameError, match="a byte says minus zero"):
        Natural().decode([Record(0, 0x09, 2, b"\x80\x01")], flat(2), STREAMS.context(0))


def test_ideal_bits_are_the_entropy_of_the_bytes():
    """Two of two kinds each: 1 bit an element."""
    assert Natural().ideal_bits([Record(0, 0x09, 4, bytes([1, 1, 2, 2]))], flat(4)) == 4
