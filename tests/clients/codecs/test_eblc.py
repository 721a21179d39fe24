"""Oracles: the bound itself, levels by hand, and the error of even rounding."""

import codec_trips
import numpy as np
import pytest
from codec_trips import flat

from gauntlet.clients.codecs.eblc import EBLC
from gauntlet.core.contracts import CodecStreams
from gauntlet.core.errors import FrameError
from gauntlet.core.frames import Record

STREAMS = CodecStreams(seed=0, round=7)


def sent(codec, rows):
    return codec_trips.sent(codec, rows, STREAMS)


@pytest.mark.parametrize("bound", [0.004, 0.01, 0.1, 0.5])
@pytest.mark.parametrize("law", ["normal", "laplace"])
def test_no_coordinate_is_off_by_more_than_the_bound_of_the_range(bound, law):
    rows = getattr(np.random.default_rng(0), law)(size=(3, 2000)).astype(np.float32)
    decoded, _, _ = sent(EBLC(bound), rows)
    errors = np.abs(decoded.numpy() - rows).max(axis=1)
    assert (errors <= bound * np.ptp(rows, axis=1) * (1 + 1e-5)).all()
    assert (errors > 0.8 * bound * np.ptp(rows, axis=1)).all()


def test_levels_by_hand():
    """Range 8, bound 1/8: steps of 2, so that -3 rounds to -4 (to even), 1.1 to 2 and 0.9 to 0."""
    decoded, _, _ = sent(EBLC(0.125), [[-3.0, 1.1, 0.9, 0.0, 5.0]])
    assert decoded[0].tolist() == [-4, 2, 0, 0, 4]


def test_the_error_of_many_small_steps_is_that_of_even_rounding():
    """step^2 / 12 a coordinate."""
    row = np.random.default_rng(0).uniform(-1, 1, (1, 100_000)).astype(np.float32)
    decoded, _, _ = sent(EBLC(0.01), row)
    step = 2 * 0.01 * np.ptp(row)
    assert np.square(decoded.numpy() - row).mean() == pytest.approx(step**2 / 12, rel=0.02)


def test_ideal_bits_are_the_entropy_and_two_numbers():
    """Four levels equally often: 2 bits each."""
    assert codec_trips.ideal(EBLC(1 / 6), [[0.0, 1.0, 2.0, 3.0]], STREAMS) == pytest.approx(4 * 2 + 64)


@pytest.mark.parametrize(
    ("head", "complaint"),
    [
        ((np.nan, 0), "step nan"),
        ((-1, 0), "step -1"),
        ((1, 0.5), "least level 0.5"),
        ((1, -99), "least level -99"),
        ((1, 1), "least level 1"),
    ],
)
def test_heads_that_no_encoder_makes_are_refused(head, complaint):
    _, (frame,), _ = sent(EBLC(), [[1.0, -1.0]])
    body = np.array(head, "<f4").tobytes() + frame[24 + 8 : -4]
    with pytest.raises(FrameError, match=complaint):
        EBLC().decode([Record(0, 0x07, 2, body)], flat(2), STREAMS.context(0))


def test_more_levels_than_the_bound_allows_are_refused():
    import zlib

    body = np.array([1, 0], "<f4").tobytes() + b"\x09" + zlib.compress(bytes([200, 0]))
    with pytest.raises(FrameError, match="201 levels, allowed 53"):
        EBLC().decode([Record(0, 0x07, 2, body)], flat(2), STREAMS.context(0))


@pytest.mark.parametrize("bound", [0.0, 0.003, 0.6, float("nan")])
def test_a_bound_out_of_range_is_refused(bound):
    with pytest.raises(ValueError, match=r"bound must be between 0.004 and 0.5"):
        EBLC(bound)
