"""Oracles: levels by hand, and the error of random rounding between them."""

import codec_trips
import numpy as np
import pytest
from codec_trips import flat

from gauntlet.clients.codecs.dorefa import DoReFa
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record

STREAMS = CodecStreams(seed=0, round=7)


def sent(codec, rows):
    return codec_trips.sent(codec, rows, STREAMS)


def test_values_on_levels_stay_as_they_are():
    """2 bits, m = 3: levels -3, -1, 1, 3; with 0 among them -3, 0, 3."""
    decoded, (frame,), _ = sent(DoReFa(bits=2), [[3.0, -1.0, 1.0, -3.0, 3.0]])
    assert decoded[0].tolist() == [3, -1, 1, -3, 3]
    assert frame[-7 - 4 : -4].hex() == "00004040" + "02" + "d8c0"  # 11 01 10 00 | 11
    decoded, _, _ = sent(DoReFa(bits=2, zero_preserving=True), [[3.0, 0.0, -3.0]])
    assert decoded[0].tolist() == [3, 0, -3]


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
@pytest.mark.parametrize("law", ["normal", "laplace"])
def test_the_error_is_that_of_random_rounding_between_levels(bits, law):
    """D^2 f (1 - f) an element, with D = 2 m / (2^k - 1): computed from the same values."""
    row = getattr(np.random.default_rng(0), law)(size=200_000)
    step = 2 * np.abs(row).max() / (2**bits - 1)
    share = (row + np.abs(row).max()) / step % 1
    expected = np.square(step) * (share * (1 - share)).sum()
    decoded, _, _ = sent(DoReFa(bits=bits), [row])
    error = np.square(decoded[0].double().numpy() - row.astype(np.float32)).sum()
    assert error == pytest.approx(expected, rel=0.01)


def test_each_bucket_has_its_own_scale():
    decoded, _, _ = sent(DoReFa(bits=1, bucket_size=2), [[1.0, -1.0, 8.0, -8.0, 0.5]])
    assert decoded[0].tolist() == [1, -1, 8, -8, 0.5]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("0000803f" + "02" + "ffff", "padding bits are not zero"),
        ("0000803f" + "03" + "ffc0", "bits 03, allowed 02"),
        ("0000803f" + "02" + "ff", "1 bytes, expected 2"),
        ("0000803f", "bits missing, allowed 02"),
        ("000080ff" + "02" + "ffc0", "not finite and at least 0"),
    ],
)
def test_bodies_that_no_encoder_makes_are_refused(body, complaint):
    with pytest.raises(FrameError, match=complaint):
        DoReFa(bits=2).decode([Record(0, 0x03, 5, bytes.fromhex(body))], flat(5), STREAMS.context(0))


def test_a_code_beyond_the_levels_is_refused():
    body = bytes.fromhex("0000803f" + "02" + "d8c0")
    codec = DoReFa(bits=2, zero_preserving=True)
    with pytest.raises(FrameError, match="code 3, allowed 0 to 2"):
        codec.decode([Record(0, 0x03, 5, body)], flat(5), STREAMS.context(0))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"bits": 0}, "bits must be between 1 and 8, got 0"),
        ({"bits": 9}, "bits must be between 1 and 8, got 9"),
        ({"bucket_size": 0}, "bucket_size must be at least 1"),
        ({"bits": 1, "zero_preserving": True}, "zero_preserving needs at least 2 bits"),
    ],
)
def test_options_out_of_range_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        DoReFa(**options)
