"""Oracles: the golden body of the format, and the numbers by hand."""

import codec_trips
import numpy as np
import pytest
from codec_trips import flat

from gauntlet.clients.codecs.stc import STC
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record

STREAMS = CodecStreams(seed=0, round=7)


def sent(codec, rows):
    return codec_trips.sent(codec, rows, STREAMS)


def golden_row():
    row = np.zeros((1, 32), dtype=np.float32)
    row[0, [0, 3, 4, 17, 31]] = [1, -2, 0.5, -0.25, 3]
    return row


def test_the_body_has_the_golden_bytes():
    """The specification: the mean size is (1 + 2 + 0.5 + 0.25 + 3) / 5 = 1.35."""
    decoded, (frame,), _ = sent(STC(density=5 / 32), golden_row())
    assert frame[-14:-4].hex() == "cdccac3f" + "0502" + "1dc40a80"
    assert decoded[0][[0, 3, 4, 17, 31]].tolist() == pytest.approx([1.35, -1.35, 1.35, -1.35, 1.35])
    assert int((decoded != 0).sum()) == 5


def test_the_mean_is_of_what_is_kept_and_zeros_are_not_sent():
    """Of five only two are not 0; OpenFL's form divides by all."""
    decoded, _, _ = sent(STC(density=1.0), [[0.0, 3.0, 0.0, -1.0, 0.0]])
    assert decoded[0].tolist() == [0, 2, 0, -2, 0]


def test_of_the_energy_k_times_the_squared_mean_is_kept():
    row = np.random.default_rng(0).standard_normal((1, 10_000)).astype(np.float32)
    decoded, _, _ = sent(STC(density=0.1), row)
    kept = np.sort(np.abs(row[0]))[-1000:].astype(np.float64)
    error = np.square(decoded.numpy() - row, dtype=np.float64).sum()
    expected = np.square(row, dtype=np.float64).sum() - 1000 * kept.mean() ** 2
    assert error == pytest.approx(expected, rel=1e-4)


def test_the_bits_are_position_and_sign_of_each_and_32():
    """8.107 bits a position at 1 percent (the specification, 2.1), 1 of sign."""
    row = np.random.default_rng(1).standard_normal((1, 1_000_000)).astype(np.float32)
    _, (frame,), _ = sent(STC(density=0.01), row)
    assert 8 * (len(frame) - 36) / 10_000 == pytest.approx(9.107, rel=0.01)


def test_ideal_bits_are_support_signs_and_mean():
    """By hand: log2 of 10 supports of 2 among 5, 2 signs and 32."""
    ideal = codec_trips.ideal(STC(density=0.4), [[0.0, 3.0, 0.0, -1.0, 0.0]], STREAMS)
    assert ideal == pytest.approx(3.321928 + 2 + 32)


@pytest.mark.parametrize(
    ("tag", "body", "complaint"),
    [
        (0x32, "cdccac3f" + "0602" + "1dc40a80", "rice body|6 positions"),
        (0x31, "cdccac3f" + "0502" + "1dc40a80", "tag 0x31, allowed 0x32"),
        (0x32, "cdccacbf" + "0502" + "1dc40a80", "not finite and at least 0"),
        (0x32, "cdccac3f" + "0502" + "1dc40a81", "padding"),
    ],
)
def test_bodies_that_no_encoder_makes_are_refused(tag, body, complaint):
    with pytest.raises(FrameError, match=complaint):
        STC(density=5 / 32).decode([Record(0, tag, 32, bytes.fromhex(body))], flat(32), STREAMS.context(0))


def test_more_positions_than_k_are_refused():
    body = bytes.fromhex("cdccac3f" + "0502" + "1dc40a80")
    with pytest.raises(FrameError, match="5 positions, allowed 3"):
        STC(density=3 / 32).decode([Record(0, 0x32, 32, body)], flat(32), STREAMS.context(0))
